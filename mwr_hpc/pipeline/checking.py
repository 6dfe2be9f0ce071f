"""``mwr-hpc check``: the environment and the tomograms, before any hour is spent on them."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from mwr_hpc.config.checks import default_crop_size
from mwr_hpc.config.schema import CheckSettings, TrainSettings
from mwr_hpc.errors import InputError, StopRequested
from mwr_hpc.events import Emit, ShouldStop, StageFinished, StageStarted, UnitFinished
from mwr_hpc.installation import tensorflow_advice
from mwr_hpc.missing_wedge.check import CheckSizes, Finding, TomogramReport, check_group, check_tomogram
from mwr_hpc.missing_wedge.entries import Cohort, TomogramEntry
from mwr_hpc.missing_wedge.listing import collect_cohort
from mwr_hpc.pipeline.environment import Environment, look_around
from mwr_hpc.pipeline.plan import plan_cohort
from mwr_hpc.pipeline.starting import DEFAULT_TILT_RANGE

SMALLEST_MULTIPLE = 8
"""Of crops, for the default depth of the network."""


@dataclass(frozen=True)
class CheckReport:
    """All that was found."""

    environment: Environment
    tomograms: list[TomogramReport]
    findings: list[Finding]

    @property
    def exit_code(self) -> int:
        """0 when training can work, 2 when something cannot; warnings change nothing."""
        return 2 if any(finding.severity == "error" for finding in self.findings) else 0

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "environment": self.environment.to_record(),
            "tomograms": [tomogram.to_record() for tomogram in self.tomograms],
            "findings": [asdict(finding) for finding in self.findings],
        }


def check(settings: CheckSettings, emit: Emit, should_stop: ShouldStop) -> CheckReport:
    """Check the environment, and the tomograms if there are any; whatever is wrong becomes a finding.

    Raises
    ------
    StopRequested
        Somebody asked for a stop.
    """
    environment = look_around(settings.run_dir)
    findings = list(_of_environment(environment))
    cohort = Cohort([])
    if settings.inputs:
        try:
            cohort = _collect(settings)
        except InputError as error:
            findings.append(Finding("error", "the inputs", str(error)))
    findings += [Finding("error", identifier, reason) for identifier, reason in cohort.problems.items()]
    crop_size = settings.crop_size or default_crop_size(settings.cube_size, SMALLEST_MULTIPLE)
    sizes = CheckSizes(settings.cube_size, crop_size, settings.ncube)
    reports: list[TomogramReport] = []
    began = time.perf_counter()
    emit(StageStarted("check", len(cohort.entries)))
    for entry in cohort.entries:
        if should_stop():
            raise StopRequested(f"stopped after {len(reports)} of {len(cohort.entries)} tomograms")
        started = time.perf_counter()
        reports.append(check_tomogram(entry, sizes, settings.full))
        findings += reports[-1].findings
        emit(UnitFinished("check", entry.id, time.perf_counter() - started))
    emit(StageFinished("check", len(reports), 0, 0, time.perf_counter() - began))
    groups: dict[str | None, list[TomogramEntry]] = defaultdict(list)
    for entry in cohort.entries:
        groups[entry.group].append(entry)
    for name, entries in groups.items():
        findings += check_group(name, entries)
    broken = {finding.about for finding in findings if finding.severity == "error"}
    findings += _of_room(environment, [entry for entry in cohort.entries if entry.id not in broken], settings)
    return CheckReport(environment, reports, findings)


def _collect(settings: CheckSettings) -> Cohort:
    """The tomograms as `train` would take them: a range that the command gives wins over the list's."""
    return collect_cohort(
        settings.inputs,
        settings.tilt_range,
        flip_tilt=settings.flip_tilt,
        mask_dir=settings.mask_dir,
        allow_missing_masks=settings.allow_missing_masks,
        group=settings.group,
        option_wins=True,
        signedness=settings.bytes,
    )


def _of_environment(environment: Environment) -> Iterator[Finding]:
    if advice := tensorflow_advice():
        yield Finding("error", "TensorFlow", f"{advice}; without it nothing can be trained or corrected")
    missing = [name for name, path in environment.slurm.items() if path is None]
    if missing and len(missing) < len(environment.slurm):
        text = f"{', '.join(missing)} not found, though other commands of SLURM are: extend PATH to run on the cluster"
        yield Finding("warning", "SLURM", text)


def _of_room(environment: Environment, entries: list[TomogramEntry], settings: CheckSettings) -> Iterator[Finding]:
    """Compare the room with what a run takes at most, with the defaults of `train` where `check` does not ask."""
    names = {"cube_size", "crop_size", "ncube", "run_dir"}
    run = TrainSettings.model_validate(settings.model_dump(include=names), context={"incomplete": True})
    known = [replace(entry, tilt_range=entry.tilt_range or DEFAULT_TILT_RANGE) for entry in entries]
    try:
        needed = plan_cohort(run, known, {}).peak
    except InputError:  # there is nothing to train on, which is a finding already
        return
    if needed.bytes > environment.free_bytes:
        free = environment.free_bytes
        text = f"{free / 1e9:.1f} GB are free, a run may take {needed.bytes / 1e9:.1f} GB: use another --run_dir"
        yield Finding("warning", "disk", text)
    if environment.free_files is not None and needed.files > environment.free_files:
        text = f"{environment.free_files} more files are allowed, a run may make {needed.files}: use another --run_dir"
        yield Finding("warning", "disk", text)
