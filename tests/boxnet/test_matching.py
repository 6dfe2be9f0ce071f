"""Which picks and masks belong to which micrograph, and that nothing is guessed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mwr_hpc.boxnet.matching import ExampleFiles, find_examples
from mwr_hpc.errors import InputError
from mwr_hpc.io.picks import write_picks

Lay = Callable[..., Path]


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Make a folder of empty files, or of STAR files with one particle of the micrographs given for each."""

    def make(folder: str, *names: str, **stars: str) -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in names:
            (tmp_path / folder / name).touch()
        for name, micrographs in stars.items():
            listed = micrographs.split()
            write_picks(tmp_path / folder / f"{name}.star", [1.0] * len(listed), [1.0] * len(listed), listed)
        return tmp_path / folder

    return make


def names(examples: list[ExampleFiles]) -> dict[str, str]:
    return {example.name: example.positives.name for example in examples}


def test_one_file_names_the_suffix_of_all_others_beside_it(lay: Lay) -> None:
    micrographs = lay("mics", "m_1.mrc", "m_2.mrc", "m_3.tif", "m_4.mrc")
    picks = lay(
        "picks",
        *("m_1_Net.star", "m_2_Net.star", "m_3_Net.star", "m_1_Old.star", "m_4_Net2.star", "m_2_My_Net.star"),
        "m_1_Net_falsepositives.star",
    )
    found = find_examples(micrographs, picks / "m_1_Net.star")
    assert names(found) == {"m_1": "m_1_Net.star", "m_2": "m_2_Net.star", "m_3": "m_3_Net.star"}
    assert all(example.mask is example.important is example.uncertain is None for example in found)
    assert not any(example.merged for example in found)


def test_removed_picks_weigh_more_where_the_user_says_so(lay: Lay) -> None:
    micrographs = lay("mics", "a.mrc", "b.mrc")
    picks = lay("picks", "a_N.star", "b_N.star", "a_N_falsepositives.star", "b_N_odd.star")
    a, b = find_examples(micrographs, picks / "a_N.star", "N_falsepositives", "N_odd")
    assert a.important == picks / "a_N_falsepositives.star" and a.uncertain is None
    assert b.uncertain == picks / "b_N_odd.star" and b.important is None


def test_a_folder_with_fewer_is_only_those(lay: Lay) -> None:
    micrographs = lay("mics", "a.mrc", "b.mrc", "c.mrc")
    picks = lay("cleaned", "a_N.star", "c_N.star", "c_N_falsepositives.star")
    assert list(names(find_examples(micrographs, picks))) == ["a", "c"]


def test_files_may_have_no_suffix(lay: Lay) -> None:
    micrographs = lay("mics", "a.mrc", "a_b.mrc")
    truth = lay("truth", "a.star", "a_b.star")
    assert names(find_examples(micrographs, truth)) == {"a": "a.star", "a_b": "a_b.star"}
    assert names(find_examples(micrographs, truth / "a.star")) == {"a": "a.star", "a_b": "a_b.star"}


def test_one_list_of_many_micrographs(lay: Lay) -> None:
    micrographs = lay("mics", "a.mrc", "b.mrc", "c.mrc")
    merged = lay("lists", particles="a.mrc c.mrc a.mrc") / "particles.star"
    found = find_examples(micrographs, merged)
    assert names(found) == {"a": "particles.star", "c": "particles.star"} and all(example.merged for example in found)
    lay("lists", particles="a.mrc x.mrc")
    with pytest.raises(InputError, match=r"the micrographs x\.mrc are missing in .*mics"):
        find_examples(micrographs, merged)


def test_the_name_in_the_file_decides_where_two_micrographs_fit(lay: Lay) -> None:
    micrographs = lay("mics", "a.mrc", "a_b.mrc")
    picks = lay("picks", a_b_N="a_b.mrc", a_N="a.mrc")
    assert names(find_examples(micrographs, picks / "a_b_N.star")) == {"a": "a_N.star", "a_b": "a_b_N.star"}
    lay("picks", a_b_N="")
    with pytest.raises(InputError, match=r"a_b_N\.star: ambiguous: could belong to the micrographs a, a_b"):
        find_examples(micrographs, picks / "a_b_N.star")


def test_masks_by_exact_stem(lay: Lay) -> None:
    micrographs = lay("mics", "a.mrc", "b.mrc", "c.mrc")
    picks = lay("picks", "a_N.star", "b_N.star")
    masks = lay("masks", "a.tif", "b_mask.tif", "c.tif", "a.txt")
    assert [example.mask for example in find_examples(micrographs, picks, masks=masks)] == [masks / "a.tif", None]
    lay("masks", "a.mrc")
    with pytest.raises(InputError, match=r"a\.mrc and a\.tif are ambiguous"):
        find_examples(micrographs, picks, masks=masks)


def test_missing_micrographs_are_refused_by_name(lay: Lay) -> None:
    micrographs = lay("mics", "a.mrc")
    picks = lay("picks", "a_N.star", "b_N.star")
    with pytest.raises(InputError, match=r"the micrographs of b_N\.star are missing"):
        find_examples(micrographs, picks / "a_N.star")
    with pytest.raises(InputError, match=r"the micrographs of b_N\.star are missing"):
        find_examples(micrographs, picks)


def test_what_a_folder_does_not_decide_is_refused(lay: Lay) -> None:
    micrographs = lay("mics", "a.mrc", "b.mrc")
    with pytest.raises(InputError, match="no STAR files of particles"):
        find_examples(micrographs, lay("none"))
    with pytest.raises(InputError, match=r"files of several suffixes \('M', 'N'\); give one STAR file"):
        find_examples(micrographs, lay("both", "a_M.star", "b_N.star"))
    with pytest.raises(InputError, match=r"odd\.star: belongs to no micrograph|not a STAR file|no coordinates"):
        find_examples(micrographs, lay("other", "odd.star") / "odd.star")
    with pytest.raises(InputError, match=r"no <micrograph>_X\.star beside the positives; check --important_suffix X"):
        find_examples(micrographs, lay("some", "a_N.star"), important_suffix="X")


def test_files_of_other_programs(lay: Lay) -> None:
    micrographs = lay("mics", "a.mrc", "b.mrc", "c_d.mrc")
    assert names(find_examples(micrographs, lay("boxes", "a.box", "b.box", "notes.txt"))) == {
        "a": "a.box",
        "b": "b.box",
    }
    assert names(find_examples(micrographs, lay("cbox", "a_N.cbox", "a_N.box") / "a_N.cbox")) == {"a": "a_N.cbox"}
    table = lay("topaz") / "picks.txt"
    table.write_text("image_name\tx_coord\ty_coord\nc_d\t1\t2\na\t3\t4\n")
    assert names(find_examples(micrographs, table)) == {"a": "picks.txt", "c_d": "picks.txt"}
    with pytest.raises(InputError, match=r"files of several kinds, a_N\.star and b_N\.box among them"):
        find_examples(micrographs, lay("mixed", "a_N.star", "b_N.box"))


def test_additions_of_cryosparc(lay: Lay) -> None:
    prefixed = "000123456789012345678_m1_patch_aligned_doseweighted"
    micrographs = lay("mics", f"{prefixed}.mrc", "m2.mrc")
    assert names(find_examples(micrographs, lay("picks", "m1_N.star", "m2_N.star"))) == {
        prefixed: "m1_N.star",
        "m2": "m2_N.star",
    }
    (one,) = find_examples(micrographs, lay("lists", all="m1.tif") / "all.star")
    assert (one.name, one.listed, one.merged) == (prefixed, "m1.tif", True)
    with pytest.raises(InputError, match=r"both are of the micrograph"):
        find_examples(micrographs, lay("picks", f"{prefixed}_N.star"))
