"""`mwr-hpc cohort`: the list of tomograms that every command takes."""

import os

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say
from mwr_hpc.cli.progress import observing
from mwr_hpc.cli.running import report, settings_from
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import CohortSettings
from mwr_hpc.errors import ConfigError

HELP = """List tomograms with their voxel sizes, tilt ranges, masks and groups.

Takes folders, single files, and lists of IsoNet, RELION 5, Warp or this program; several lists become one. Ids are the
exact file names, headers are read, and what cannot be used is named and left out.

\b
  mwr-hpc cohort tomograms --tlt_dir tilts --mask_dir masks --group session1 --out session1.star
  mwr-hpc cohort session1.star session2.star --out tomograms.star
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "cohort", CohortSettings, run, text=HELP)


def run(given: Given) -> int:
    """Write the list, and say what is left out of it."""
    settings = settings_from(CohortSettings, given)
    from dataclasses import replace

    from mwr_hpc.io.atomic import named_within_limits, partial_path, require_writable
    from mwr_hpc.io.volume import OME_ZARR_SUFFIX
    from mwr_hpc.missing_wedge.cohort import write_cohort
    from mwr_hpc.missing_wedge.entries import without_long_names
    from mwr_hpc.missing_wedge.listing import collect_cohort, summed_origins
    from mwr_hpc.pipeline.assumptions import tell_assumptions

    _check_output(settings)
    require_writable(settings.out.parent)
    named_within_limits(settings.out, "--out")
    named = settings.model_dump(exclude={"inputs", "out", "group", "bytes"})
    collected = collect_cohort(settings.inputs, signedness=settings.bytes, **named, halves=True)
    cohort = without_long_names(collected, lambda name: [partial_path(settings.out.with_name(name + OME_ZARR_SUFFIX))])
    entries = [replace(entry, group=settings.group or entry.group) for entry in cohort.entries]
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    write_cohort(settings.out, entries)
    say(f"{len(entries)} tomogram{'s' * (len(entries) != 1)} in {settings.out}")
    say(*(f"  {line}" for line in summed_origins(entries)))
    for what, lacking in (
        ("no tilt range", [entry.id for entry in entries if entry.tilt_range is None]),
        ("halves only, which no command works on yet", [entry.id for entry in entries if entry.halves_only]),
        ("no voxel size", [entry.id for entry in entries if min(entry.voxel_size) == 0]),
    ):
        if lacking:
            say(f"{len(lacking)} of them have {what}: {', '.join(lacking)}", err=True)
    with observing() as emit:
        tell_assumptions(cohort, emit)
    report(cohort.problems, (), ("mwr-hpc", "check", str(settings.out)))
    return 1 if cohort.problems else 0


def _check_output(settings: CohortSettings) -> None:
    """See that the list replaces nothing but a list that this command wrote, and that it can hold the group."""
    from mwr_hpc.io.star import is_own_list
    from mwr_hpc.io.star_text import is_one_value

    out = settings.out
    if out.suffix.lower() != ".star":
        raise ConfigError(f"--out {out}: a list ends in .star; was its name left out before the tomograms?")
    if any(os.path.realpath(path) == os.path.realpath(out) for path in settings.inputs):
        raise ConfigError(f"--out {out}: is one of the inputs; name another list")
    if os.path.lexists(out) and not is_own_list(out):
        raise ConfigError(f"--out {out}: is there, but this command did not write it; move it away, or name another")
    if settings.group is not None and not is_one_value(settings.group):
        raise ConfigError(
            f"--group {settings.group!r}: no list can hold this name; give one without line breaks or quotes"
        )
