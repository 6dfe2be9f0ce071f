"""What the commands share: settings from words, work with progress and signals, the report at the end."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from mwr_hpc.cli.output import say
from mwr_hpc.cli.progress import observing
from mwr_hpc.cli.words import Given
from mwr_hpc.cluster.progress import marking_progress
from mwr_hpc.cluster.signals import stop_on_signals
from mwr_hpc.config.fields import Settings, option_info
from mwr_hpc.config.loading import Resolved, resolve
from mwr_hpc.config.site import SiteProfile, load_site, site_path
from mwr_hpc.errors import ConfigError
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.printable import printable

if TYPE_CHECKING:
    from mwr_hpc.pipeline.backend import Backend

AnySettings = TypeVar("AnySettings", bound=Settings)
Result = TypeVar("Result")


class WithPlace(Protocol):
    """Settings that say where the work is done."""

    slurm: bool
    in_allocation: bool


def settings_from(model: type[AnySettings], given: Given) -> AnySettings:
    """Put the settings together from all sources and see that the files they name exist.

    Raises
    ------
    ConfigError
        Some value or file cannot work.
    """
    resolved = resolve(model, given.values, config=given.config, site=given.site, environment=os.environ)
    check_paths(resolved)
    return resolved.settings


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
    """Do `work` with its progress shown; Ctrl-C, SIGTERM and SIGUSR1 ask it to stop in good order."""
    with observing() as emit, stop_on_signals() as should_stop:
        return work(settings, marking_progress(emit), should_stop)


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
