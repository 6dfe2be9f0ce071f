"""Which files belong to which micrograph: picks by suffix and exact stem, masks by exact stem.

Picks of the micrograph ``<stem>.mrc`` are in ``<stem>_<suffix>.star`` or, without a suffix, ``<stem>.star``, as Warp
and this program name them; files of other kinds end as `mwr_hpc.io.picks` says. What is missing or could belong to two
micrographs is refused by name, never guessed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mwr_hpc.boxnet.names import Micrographs, assign, means_by_stem
from mwr_hpc.errors import InputError
from mwr_hpc.events import Emit, Notice, ignore
from mwr_hpc.io.foreign_picks import is_topaz_table
from mwr_hpc.io.micrograph import SUFFIXES as MASK_SUFFIXES
from mwr_hpc.io.micrograph import micrograph_files, stems_of
from mwr_hpc.io.picks import BOX, CBOX, STAR, TOPAZ, read_picks
from mwr_hpc.printable import first_of

REMOVED = "_falsepositives"
"""What Warp ends the suffix of removed picks with: they lie beside the picks and are none."""


@dataclass(frozen=True)
class ExampleFiles:
    """The files of one example.

    Attributes
    ----------
    name
        The micrograph's stem.
    micrograph, positives
        Files.
    important, uncertain, mask
        Files, or None.
    merged
        Whether `positives` lists the particles of other micrographs too.
    listed
        The micrograph's path in that list, where its name alone does not tell.
    """

    name: str
    micrograph: Path
    positives: Path
    important: Path | None = None
    uncertain: Path | None = None
    mask: Path | None = None
    merged: bool = False
    listed: str | None = None


def find_examples(
    micrographs: Path,
    positives: Path,
    important_suffix: str | None = None,
    uncertain_suffix: str | None = None,
    masks: Path | None = None,
    emit: Emit = ignore,
) -> list[ExampleFiles]:
    """Find the files of every example.

    Parameters
    ----------
    micrographs
        Folder of the micrographs; those without positives are left out.
    positives
        A file of particles, which names suffix and kind: all others of them beside it are taken too. Or a folder of
        files of one suffix and kind. Or one file of many micrographs.
    important_suffix, uncertain_suffix
        Of the files, beside the positives, with places that count more and not at all.
    masks
        Folder of masks.
    emit
        Told which micrographs of a list are left out, for they lie in other folders.

    Returns
    -------
    list of ExampleFiles
        Sorted by name.

    Raises
    ------
    InputError
        A micrograph is missing or ambiguous, or nothing is found for something that was asked for.
    """
    known = Micrographs({path.stem: path for path in micrograph_files(micrographs)})
    folder = positives if positives.is_dir() else positives.parent
    listed: dict[str, str | None] = {}
    merged = False
    if positives.is_dir():
        others = (REMOVED, *(f"_{suffix}" for suffix in (important_suffix, uncertain_suffix) if suffix))
        files = [path for path in _files_of_one_kind(folder) if not path.stem.endswith(others)]
        found, ending = _of_one_suffix(files, known, folder), files[0].suffix if files else STAR
    elif candidates := _candidates(positives, known):
        ending = positives.suffix
        found = _with_suffix(_files_ending(folder, ending), _suffix_of(positives, candidates), known)
    else:
        ending = positives.suffix
        listed = _listed_micrographs(positives, known, micrographs, emit)
        found = dict.fromkeys(listed, positives)
        merged = True
    important = _beside(folder, important_suffix, ending, "--important_suffix", found)
    uncertain = _beside(folder, uncertain_suffix, ending, "--uncertain_suffix", found)
    masked = _masks_of(masks, found) if masks is not None else {}
    return [
        ExampleFiles(
            stem,
            known.paths[stem],
            found[stem],
            important.get(stem),
            uncertain.get(stem),
            masked.get(stem),
            merged,
            listed.get(stem),
        )
        for stem in sorted(found)
    ]


def excluded_notice(outside: Mapping[str, int]) -> Notice:
    """Tell of particles that were excluded, for they are outside their micrographs: how many, by the stem of each."""
    counts = _listed([f"{count} of {name}" for name, count in outside.items()])
    return Notice(
        f"positions outside their micrographs were excluded: {counts}; check them, and that all were picked in the "
        "pixel size of the micrographs",
        warning=True,
    )


def _files_ending(folder: Path, ending: str) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ending.lower())
    return [path for path in files if not path.name.startswith(".") and path.is_file()]


def _files_of_one_kind(folder: Path) -> list[Path]:
    """The files of particles in a folder, of the best kind that is there, if this is all that the others tell.

    Raises
    ------
    InputError
        A file of another kind has no file of this one beside it.
    """
    kinds = [found for ending in (STAR, CBOX, BOX) if (found := _files_ending(folder, ending))]
    if not kinds:
        return [path for ending in TOPAZ for path in _files_ending(folder, ending) if is_topaz_table(path)]
    best = {path.stem for path in kinds[0]}
    alone = [path for others in kinds[1:] for path in others if path.stem not in best]
    if alone:
        raise InputError(
            f"{folder}: files of several kinds, {kinds[0][0].name} and {alone[0].name} among them; give one file, "
            "which names the kind, or a folder of one kind"
        )
    return kinds[0]


def _candidates(path: Path, known: Micrographs) -> dict[str, str]:
    """The suffix that a file of particles has, by the stem of each micrograph that it could belong to."""
    places = [place for place, letter in enumerate(path.stem) if letter == "_"]
    parts = {path.stem[:place]: path.stem[place + 1 :] for place in places} | {path.stem: ""}
    exact = {stem: suffix for stem, suffix in parts.items() if stem in known.paths}
    if exact:
        return exact
    return {found: suffix for stem, suffix in parts.items() if (found := known.of_stem(stem)) is not None}


def _suffix_of(path: Path, candidates: Mapping[str, str]) -> str:
    """The suffix of a file; where two stems fit, the micrograph's name in the file decides."""
    if len(set(candidates.values())) > 1:
        names = read_picks(path).micrographs or ()
        named = {stem: suffix for stem, suffix in candidates.items() if stem in {Path(name).stem for name in names}}
        if len(named) != 1:
            raise InputError(
                f"{path}: ambiguous: could belong to the micrographs {_listed(candidates)}; rename one of them, or put "
                "the positives into a folder of their own and give that"
            )
        candidates = named
    return next(iter(candidates.values()))


def _with_suffix(files: Sequence[Path], suffix: str, known: Micrographs) -> dict[str, Path]:
    ending = f"_{suffix}" if suffix else ""
    found: dict[str, Path] = {}
    missing = []
    for path in files:
        if not path.stem.endswith(ending):
            continue
        stem = known.of_stem(path.stem.removesuffix(ending))
        if stem is not None and stem in found:
            raise InputError(f"{found[stem]} and {path} both are of the micrograph {stem}; leave one of them here")
        if stem is not None:
            found[stem] = path
        elif not _candidates(path, known):  # else it has another suffix, of a micrograph that is there
            missing.append(path.name)
    if missing:
        raise InputError(
            f"{files[0].parent}: the micrographs of {_listed(missing)} are missing; put them beside the others, or "
            "copy the positives that are meant into a folder of their own and give that"
        )
    return found


def _of_one_suffix(files: Sequence[Path], known: Micrographs, folder: Path) -> dict[str, Path]:
    """The files of a folder whose files have one suffix."""
    if not files:
        raise InputError(
            f"{folder}: no STAR files of particles in this folder, no {CBOX} or {BOX}, and no tables of Topaz "
            f"({', '.join(TOPAZ)}), whose first line names image_name, x_coord and y_coord"
        )
    candidates = {path: _candidates(path, known) for path in files}
    missing = [path.name for path, fitting in candidates.items() if not fitting]
    if missing:
        raise InputError(f"{folder}: the micrographs of {_listed(missing)} are missing among the micrographs")
    suffixes = [set(fitting.values()) for fitting in candidates.values()]
    common = set.intersection(*suffixes)
    if len(common) != 1:
        every = sorted(f"'{suffix}'" for suffix in set.union(*suffixes))
        problem = "files of several suffixes" if not common else "ambiguous suffixes"
        raise InputError(f"{folder}: {problem} ({_listed(every)}); give one STAR file, which names the suffix")
    return _with_suffix(files, common.pop(), known)


def _listed_micrographs(path: Path, known: Micrographs, micrographs: Path, emit: Emit) -> dict[str, str | None]:
    """The micrographs that one file of many micrographs lists, with their paths in it where a name does not tell."""
    listed = read_picks(path).listed
    if listed is None:
        raise InputError(
            f"{path}: belongs to no micrograph of {micrographs}: expected <micrograph>_<suffix>{path.suffix}, or "
            "the names of micrographs in it"
        )
    paths = set(listed)
    assigned = assign(path, paths, known)
    if assigned.missing or not assigned.names:
        raise InputError(
            f"{path}: the micrographs {_listed(assigned.missing or assigned.elsewhere)} are missing in {micrographs}"
        )
    if assigned.elsewhere:
        emit(
            Notice(
                f"{path}: left out are {len(assigned.elsewhere)} micrographs in other folders than {micrographs}: "
                f"{_listed(assigned.elsewhere)}",
                warning=True,
            )
        )
    return {stem: None if means_by_stem(paths, stem, name) else name for stem, name in assigned.names.items()}


def _beside(folder: Path, suffix: str | None, ending: str, option: str, stems: Iterable[str]) -> dict[str, Path]:
    """Files of another suffix beside the positives."""
    if not suffix:
        return {}
    places = {stem: folder / f"{stem}_{suffix}{ending}" for stem in stems}
    found = {stem: path for stem, path in places.items() if path.is_file()}
    if not found:
        raise InputError(f"{folder}: no <micrograph>_{suffix}{ending} beside the positives; check {option} {suffix}")
    return found


def _masks_of(folder: Path, stems: Iterable[str]) -> dict[str, Path]:
    wanted = set(stems)
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in MASK_SUFFIXES)
    by_stem = {stem: paths for stem, paths in stems_of(files).items() if stem in wanted}
    for paths in by_stem.values():
        if len(paths) > 1:
            raise InputError(
                f"{folder}: {' and '.join(path.name for path in paths)} are ambiguous: both are the mask of one "
                "micrograph; leave one of them here"
            )
    return {stem: paths[0] for stem, paths in by_stem.items()}


def _listed(names: Iterable[str]) -> str:
    return first_of(sorted(names))
