"""What the commands share: settings from words, work with progress and signals, the report at the end."""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from mwr_hpc.cli.output import say
from mwr_hpc.cli.progress import observing
from mwr_hpc.cli.words import Given
from mwr_hpc.cluster.pool import GRACE
from mwr_hpc.cluster.progress import marking_progress
from mwr_hpc.cluster.signals import stop_on_signals
from mwr_hpc.config.fields import Settings, option_info
from mwr_hpc.config.loading import Resolved, resolve
from mwr_hpc.config.site import SiteProfile, load_site, site_path
from mwr_hpc.config.sizes import MANUAL
from mwr_hpc.errors import ConfigError, StopRequested
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.installation import require_packages
from mwr_hpc.printable import printable

if TYPE_CHECKING:
    from mwr_hpc.pipeline.backend import Backend

AnySettings = TypeVar("AnySettings", bound=Settings)
Result = TypeVar("Result")


STOPPING = (
    "stopping in good order. The running training step or tomogram is finished first; worker processes get up to "
    f"{GRACE:g} s. Press Ctrl-C again to end without that; what is finished is kept either way"
)
"""Message shown at once when a stop was asked for."""


class WithPlace(Protocol):
    """Settings that say where the work is done."""

    slurm: bool
    in_allocation: bool


def settings_from(model: type[AnySettings], given: Given) -> AnySettings:
    """Put the settings together from all sources; see that the files they name exist and what they need is installed.

    Raises
    ------
    ConfigError
        Some value or file cannot work, or a package that the command needs is missing.
    """
    require_packages(model.runs_network)
    resolved = resolve(
        model,
        given.values,
        config=given.config,
        site=given.site,
        environment=os.environ,
        implied=implied_values(model, given),
    )
    check_paths(resolved)
    return resolved.settings


def implied_values(model: type[Settings], given: Given) -> dict[str, tuple[object, str]]:
    """Values that the way of calling implies where nothing else gives them, and that way in words.

    Scripts for MWR and configuration files say what they mean as far as it is not the default of MWR's manual.
    """
    if "preset" not in model.model_fields:
        return {}
    if called_as_mwr():
        return {"preset": (MANUAL, "program name mwr_cli.py")}
    return {"preset": (MANUAL, "--config is given")} if given.config is not None else {}


def called_as_mwr() -> bool:
    """Whether the program was called by the name that MWR's scripts use."""
    return Path(sys.argv[0]).name == "mwr_cli.py"


def check_paths(resolved: Resolved[AnySettings]) -> None:
    """Raise ConfigError, naming it and the option it came with, for the first path that is not there."""
    for name, field in type(resolved.settings).model_fields.items():
        kind = option_info(field).must_exist
        value = getattr(resolved.settings, name)
        for path in value if isinstance(value, tuple) else (value,):
            if not kind or path is None:
                continue
            if not path.exists():
                raise ConfigError(f"--{name} {path} ({resolved.origins[name]}): does not exist; expected a {kind}")
            if not (path.is_file() or path.is_dir()):
                raise ConfigError(
                    f"--{name} {path} ({resolved.origins[name]}): is a pipe or a device; expected a {kind}, so write "
                    "what comes from it to one"
                )
            if (kind == "file" and path.is_dir()) or (kind == "folder" and not path.is_dir()):
                found = "folder" if path.is_dir() else "file"
                raise ConfigError(f"--{name} {path} ({resolved.origins[name]}): is a {found}; expected a {kind}")
            if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
                raise ConfigError(
                    f"--{name} {path} ({resolved.origins[name]}): no right to read it; name another {kind}, or "
                    "have its rights changed"
                )


def watched(work: Callable[[AnySettings, Emit, ShouldStop], Result], settings: AnySettings) -> Result:
    """Do `work` with its progress shown; Ctrl-C, SIGTERM and SIGUSR1 ask it to stop in good order.

    Raises
    ------
    StopRequested
        After a stop in good order, or at once at a second Ctrl-C.
    """
    with observing() as emit:

        def acknowledge(number: signal.Signals, again: bool) -> None:
            if not again:
                emit(Notice(f"{_spoken(number)}: {STOPPING}"))
            elif number == signal.SIGINT:
                emit(Notice("Ctrl-C again: ending without waiting for what is running"))

        try:
            with stop_on_signals(acknowledge) as should_stop:
                return work(settings, marking_progress(emit), should_stop)
        except KeyboardInterrupt:
            raise StopRequested("what was running is undone, what was finished before is kept") from None


def _spoken(number: signal.Signals) -> str:
    return "Ctrl-C" if number == signal.SIGINT else number.name


def backend_for(settings: WithPlace, site: Path | None) -> "Backend":
    """Where the settings say that the work is done.

    Raises
    ------
    ConfigError
        The site file cannot be used.
    ClusterError
        This is no job of SLURM and should be one.
    """
    from mwr_hpc.pipeline.backend import ON_THIS_HOST, InAllocation, OnSlurm

    if settings.slurm:
        return OnSlurm(load_site(site, os.environ))
    if settings.in_allocation:
        from mwr_hpc.cluster.allocation import Allocation

        profile = load_site(site, os.environ) if site_path(site, os.environ) else SiteProfile()
        return InAllocation(Allocation.of(os.environ), profile)
    return ON_THIS_HOST


def report(failed: Mapping[str, str], results: Sequence[Path], then: Sequence[str]) -> None:
    """Print where the results are, what failed and why, and the command that usually comes next."""
    if results:
        folders = sorted({path.parent for path in results})
        names = results[0].name if len(results) == 1 else f"{len(results)} results, the last {results[-1].name},"
        say(f"Done: {names} in {', '.join(map(str, folders))}")
    if failed:
        say(f"Failed and left out: {len(failed)}", err=True)
        for identifier, reason in sorted(failed.items()):
            say(f"  {printable(identifier)}: {printable(reason)}", err=True)
    if then:
        say("Next:", f"  {shlex.join(then)}")
