"""Which files belong to which micrograph: picks by suffix and exact stem, masks by exact stem.

Picks of the micrograph ``<stem>.mrc`` are in ``<stem>_<suffix>.star`` or, without a suffix, ``<stem>.star``, as Warp
and this program name them. What is missing or could belong to two micrographs is refused by name, never guessed.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.micrograph import SUFFIXES as MASK_SUFFIXES
from mwr_hpc.io.micrograph import micrograph_files, stems_of
from mwr_hpc.io.picks import read_picks

STAR = ".star"

REMOVED = "_falsepositives"
"""What Warp ends the suffix of removed picks with: they lie beside the picks and are none."""

NAMED = 5
"""Files that a message names; of more it gives the number."""


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
    """

    name: str
    micrograph: Path
    positives: Path
    important: Path | None = None
    uncertain: Path | None = None
    mask: Path | None = None
    merged: bool = False


def find_examples(
    micrographs: Path,
    positives: Path,
    important_suffix: str | None = None,
    uncertain_suffix: str | None = None,
    masks: Path | None = None,
) -> list[ExampleFiles]:
    """Find the files of every example.

    Parameters
    ----------
    micrographs
        Folder of the micrographs; those without positives are left out.
    positives
        A STAR file, which names the suffix: all others of it beside it are taken too. Or a folder of STAR files of one
        suffix. Or one STAR file of many micrographs.
    important_suffix, uncertain_suffix
        Of the STAR files, beside the positives, with places that count more and not at all.
    masks
        Folder of masks.

    Returns
    -------
    list of ExampleFiles
        Sorted by name.

    Raises
    ------
    InputError
        A micrograph is missing or ambiguous, or nothing is found for something that was asked for.
    """
    stems = {path.stem: path for path in micrograph_files(micrographs)}
    folder = positives if positives.is_dir() else positives.parent
    merged = False
    if positives.is_dir():
        others = (REMOVED, *(f"_{suffix}" for suffix in (important_suffix, uncertain_suffix) if suffix))
        files = [path for path in _star_files(folder) if not path.stem.endswith(others)]
        found = _of_one_suffix(files, stems, folder)
    elif candidates := _candidates(positives, stems):
        found = _with_suffix(_star_files(folder), _suffix_of(positives, candidates), stems)
    else:
        found = dict.fromkeys(_stems_in_list(positives, stems, micrographs), positives)
        merged = True
    important = _beside(folder, important_suffix, "--important_suffix", found)
    uncertain = _beside(folder, uncertain_suffix, "--uncertain_suffix", found)
    masked = _masks_of(masks, found) if masks is not None else {}
    return [
        ExampleFiles(stem, stems[stem], found[stem], important.get(stem), uncertain.get(stem), masked.get(stem), merged)
        for stem in sorted(found)
    ]


def _star_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == STAR and not path.name.startswith("."))


def _candidates(path: Path, stems: Container[str]) -> dict[str, str]:
    """The suffix that a STAR file has, by the stem of each micrograph that it could belong to."""
    places = [place for place, letter in enumerate(path.stem) if letter == "_"]
    fitting = {path.stem[:place]: path.stem[place + 1 :] for place in places} | {path.stem: ""}
    return {stem: suffix for stem, suffix in fitting.items() if stem in stems}


def _suffix_of(path: Path, candidates: Mapping[str, str]) -> str:
    """The suffix of a file; where two stems fit, the micrograph's name in the file decides."""
    if len(candidates) > 1:
        names = read_picks(path).micrographs or ()
        named = {stem: suffix for stem, suffix in candidates.items() if stem in {Path(name).stem for name in names}}
        if len(named) != 1:
            raise InputError(
                f"{path}: ambiguous: could belong to the micrographs {_listed(candidates)}; rename one of them, or put "
                "the positives into a folder of their own and give that"
            )
        candidates = named
    return next(iter(candidates.values()))


def _with_suffix(files: Sequence[Path], suffix: str, stems: Mapping[str, Path]) -> dict[str, Path]:
    ending = f"_{suffix}" if suffix else ""
    found, missing = {}, []
    for path in files:
        if not path.stem.endswith(ending):
            continue
        stem = path.stem.removesuffix(ending)
        if stem in stems:
            found[stem] = path
        elif not _candidates(path, stems):  # else it has another suffix, of a micrograph that is there
            missing.append(path.name)
    if missing:
        raise InputError(
            f"{files[0].parent}: the micrographs of {_listed(missing)} are missing; put them beside the others, or "
            "copy the positives that are meant into a folder of their own and give that"
        )
    return found


def _of_one_suffix(files: Sequence[Path], stems: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """The files of a folder whose files have one suffix."""
    if not files:
        raise InputError(f"{folder}: no STAR files of particles in this folder")
    candidates = {path: _candidates(path, stems) for path in files}
    missing = [path.name for path, fitting in candidates.items() if not fitting]
    if missing:
        raise InputError(f"{folder}: the micrographs of {_listed(missing)} are missing among the micrographs")
    suffixes = [set(fitting.values()) for fitting in candidates.values()]
    common = set.intersection(*suffixes)
    if len(common) != 1:
        every = sorted(f"'{suffix}'" for suffix in set.union(*suffixes))
        problem = "files of several suffixes" if not common else "ambiguous suffixes"
        raise InputError(f"{folder}: {problem} ({_listed(every)}); give one STAR file, which names the suffix")
    return _with_suffix(files, common.pop(), stems)


def _stems_in_list(path: Path, stems: Mapping[str, Path], micrographs: Path) -> list[str]:
    """The micrographs that one STAR file of many micrographs lists."""
    names = read_picks(path).micrographs
    if names is None:
        raise InputError(
            f"{path}: belongs to no micrograph of {micrographs}: expected <name of a micrograph>_<suffix>.star, or a "
            "column rlnMicrographName"
        )
    listed = {Path(name).stem: name for name in names}
    missing = sorted(name for stem, name in listed.items() if stem not in stems)
    if missing:
        raise InputError(f"{path}: the micrographs {_listed(missing)} are missing in {micrographs}")
    return sorted(listed)


def _beside(folder: Path, suffix: str | None, option: str, stems: Iterable[str]) -> dict[str, Path]:
    """Files of another suffix beside the positives."""
    if not suffix:
        return {}
    places = {stem: folder / f"{stem}_{suffix}{STAR}" for stem in stems}
    found = {stem: path for stem, path in places.items() if path.is_file()}
    if not found:
        raise InputError(f"{folder}: no <micrograph>_{suffix}.star beside the positives; check {option} {suffix}")
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
    known = sorted(names)
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
    return ", ".join(known[:NAMED]) + more
