"""The configuration of a run: written at its first start, and what later calls are held to."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from mwr_hpc.config.fields import Settings
from mwr_hpc.config.loading import changed_settings, settings_from_yaml, settings_to_yaml
from mwr_hpc.errors import ConfigError
from mwr_hpc.io.atomic import atomic_file

AnySettings = TypeVar("AnySettings", bound=Settings)


def freeze(
    settings: AnySettings,
    path: Path,
    decide: Callable[[], Mapping[str, object]],
    undecided: Mapping[str, object],
    moved: Callable[[AnySettings], AnySettings] = lambda before: before,
    another: str = "--run_dir",
) -> AnySettings:
    """Write a run's configuration at its first start; later hold the call to it.

    Settings that do not change the result so far (workers, devices) may differ later and replace the old ones.

    Parameters
    ----------
    settings
        Of this call.
    path
        The run's configuration.
    decide
        Tells, once, at the first start, what the settings mean that are left to the hardware.
    undecided
        The values of settings that leave them to it.
    moved
        The settings of a run whose folder may have been moved since.
    another
        The option that makes another run.

    Returns
    -------
    Settings
        With everything decided.

    Raises
    ------
    ConfigError
        Another setting differs, or a newer version wrote the configuration.
    """
    if not path.exists():
        frozen = settings.model_copy(update=dict(decide()))
        _write(path, frozen)
        return frozen
    before = settings_from_yaml(type(settings), path)
    left = {name for name, value in undecided.items() if getattr(settings, name) == value}
    frozen = settings.model_copy(update={name: getattr(before, name) for name in left})
    if differing := changed_settings(moved(before), frozen):
        listed = "\n".join(f"  {name}: {old} in the run, {new} asked for" for name, (old, new) in differing.items())
        raise ConfigError(
            f"{path}: the run was started with other settings:\n{listed}\n"
            f"Use the same settings to go on with it, or another {another} for a new run."
        )
    if frozen != before:
        _write(path, frozen)
    return frozen


def _write(path: Path, settings: Settings) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_text(settings_to_yaml(settings))
