"""Puts a command's settings together from all their sources, and remembers where each value came from.

Later sources win: defaults, site file, configuration file, environment (MWR_HPC_<OPTION>), command line.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import ValidationError

from mwr_hpc.config.bounded_yaml import load_yaml
from mwr_hpc.config.errors import describe
from mwr_hpc.config.fields import Settings, normalised, option_info
from mwr_hpc.config.schema import COMMANDS
from mwr_hpc.errors import ConfigError

PREFIX = "MWR_HPC_"
RESERVED_VARIABLES = ("MWR_HPC_SITE", "MWR_HPC_MODELS", "MWR_HPC_REQUIRE", "MWR_HPC_SHARED", "MWR_HPC_CACHE")
"""Environment variables that are ours but no options."""

SCHEMA_VERSION = 1
"""Raised whenever an older program could misread a configuration of this one."""

VERSION_KEY = "schema_version"

SLURM_SECTION = "slurm"
"""Of a site file: the resources of jobs, which are no options of any command."""

AnySettings = TypeVar("AnySettings", bound=Settings)


@dataclass(frozen=True)
class Resolved(Generic[AnySettings]):
    """Settings, and for each of them in words where its value came from."""

    settings: AnySettings
    origins: dict[str, str]


def resolve(
    model: type[AnySettings],
    command_line: Mapping[str, object] | None = None,
    *,
    config: Path | None = None,
    site: Path | None = None,
    environment: Mapping[str, str] | None = None,
    implied: Mapping[str, tuple[object, str]] | None = None,
    incomplete: bool = False,
) -> Resolved[AnySettings]:
    """Put the settings of one command together.

    Parameters
    ----------
    model
        The command's settings.
    command_line
        Values by option, in any spelling.
    config
        Configuration file for this command (YAML).
    site
        Site file (YAML), which serves all commands; when None, the one that MWR_HPC_SITE names.
    environment
        Environment variables; None: none.
    implied
        Values, by name and with their origin in words, that stand where no other source gives one.
    incomplete
        Let required inputs be absent.

    Raises
    ------
    ConfigError
        An unknown option, a bad value or combination, or a file that cannot be used.
    """
    environment = environment or {}
    site = site or (Path(environment["MWR_HPC_SITE"]) if environment.get("MWR_HPC_SITE") else None)
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for origin, given in (
        *_from_site(model, site),
        *_from_config(model, config),
        *_from_environment(model, environment),
        ("command line", _named(model, command_line or {}, "command line")),
    ):
        values |= given
        origins |= dict.fromkeys(given, origin)
    for name, (value, origin) in (implied or {}).items():
        if name not in values:
            values[name], origins[name] = value, origin
    try:
        settings = model.model_validate(values, context={"incomplete": incomplete})
    except ValidationError as error:
        raise ConfigError(describe(error, model, origins)) from None
    return Resolved(settings, {name: origins.get(name) or _default_origin(model, name) for name in model.model_fields})


def _default_origin(model: type[Settings], name: str) -> str:
    automatic = option_info(model.model_fields[name]).automatic
    return f"default ({automatic})" if automatic else "default"


def _from_site(model: type[Settings], path: Path | None) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield what holds for all commands, then what holds for this one."""
    if path is None:
        return
    origin = f"site file {path}"
    content = read_yaml(path, "site file")
    content.pop(SLURM_SECTION, None)  # config/site.py reads it
    sections = {key: value for key, value in content.items() if key in COMMANDS}
    shared = {key: value for key, value in content.items() if key not in COMMANDS}
    known = _spellings_of_all()
    for key in shared:
        if normalised(key) not in known:
            raise unknown_option(key, known | dict.fromkeys(COMMANDS, ""), origin, "'mwr-hpc COMMAND --help'")
    spellings = model.spellings()
    yield origin, _named(model, {key: value for key, value in shared.items() if normalised(key) in spellings}, origin)
    for command, section in sections.items():
        if not isinstance(section, dict):
            raise ConfigError(f"{origin}: '{command}' is {section!r}; expected a mapping of that command's options")
        named = _named(COMMANDS[command], section, f"{origin}, {command}")
        if COMMANDS[command] is model:
            yield f"{origin}, {command}", named


def _from_config(model: type[Settings], path: Path | None) -> Iterator[tuple[str, dict[str, object]]]:
    if path is None:
        return
    origin = f"config file {path}"
    content = read_yaml(path, "configuration file")
    if VERSION_KEY in content:  # a run's own configuration, for another run
        _check_version(content.pop(VERSION_KEY), path)
        _pop_internal(model, content)
    for key in content:
        if key in COMMANDS and normalised(key) not in model.spellings():
            raise ConfigError(
                f"{origin}: '{key}' is a command; a configuration file is for one command and holds its options "
                "directly (sections belong in a site file)"
            )
    yield origin, _named(model, content, origin)


def _from_environment(model: type[Settings], environment: Mapping[str, str]) -> Iterator[tuple[str, dict[str, object]]]:
    known = _spellings_of_all()
    spellings = model.spellings()
    for variable, value in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in RESERVED_VARIABLES:
            continue
        option = normalised(variable.removeprefix(PREFIX))
        if option not in known:
            variables = [*RESERVED_VARIABLES, *(PREFIX + name.upper() for name in known)]
            raise ConfigError(
                f"environment variable {variable} is no option of mwr-hpc; "
                f"did you mean {nearest(variable, variables)}? Otherwise unset it."
            )
        if option in spellings:
            yield f"environment variable {variable}", {spellings[option]: value}


def _named(model: type[Settings], given: Mapping[str, object], origin: str) -> dict[str, object]:
    """Replace spellings by field names, refusing unknown ones and two of the same option."""
    spellings = model.spellings()
    named: dict[str, object] = {}
    for key, value in given.items():
        if normalised(key) not in spellings:
            raise unknown_option(key, spellings, origin, f"'{model.help_line()}'")
        name = spellings[normalised(key)]
        if name in named:
            raise ConfigError(f"{origin}: {name} is given twice, in different spellings; keep one")
        named[name] = value
    return named


def _spellings_of_all() -> dict[str, str]:
    return {spelling: name for model in COMMANDS.values() for spelling, name in model.spellings().items()}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like `word`."""
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)[0]


def unknown_option(key: str, known: Iterable[str], origin: str, where: str) -> ConfigError:
    """Build the error for an option that does not exist, with the one of those `known` that it resembles, if any."""
    spellings = {normalised(one): one for one in known}
    alike = difflib.get_close_matches(normalised(key), spellings, n=1)
    suggestion = f"; did you mean '{spellings[alike[0]]}'?" if alike else "."
    return ConfigError(f"{origin}: unknown option '{key}'{suggestion} See {where}.")


def read_yaml(path: Path, kind: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping with text keys; an empty file is an empty mapping.

    Raises
    ------
    ConfigError
        The file is absent, unreadable, not YAML or not a mapping.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{kind} {path} cannot be read ({error.strerror}); give the path of a YAML file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{kind} {path} is not valid YAML: {error}; expected lines such as 'cube_size: 64'") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{kind} {path} holds no mapping of options; expected lines such as 'cube_size: 64'")
    return content


def settings_to_yaml(settings: Settings) -> str:
    """Write settings as the text of RUN/config.yaml, with the version of the schema."""
    return yaml.safe_dump({VERSION_KEY: SCHEMA_VERSION, **settings.to_parameters()}, sort_keys=False)


def settings_from_yaml(model: type[AnySettings], path: Path) -> AnySettings:
    """Read what `settings_to_yaml` wrote.

    Raises
    ------
    ConfigError
        The file is damaged, or was written by a newer version of the program.
    """
    content = read_yaml(path, "configuration of the run")
    if VERSION_KEY not in content:
        raise ConfigError(f"{path} has no {VERSION_KEY}; it was not written by mwr-hpc, or is damaged: restore it")
    _check_version(content.pop(VERSION_KEY), path)
    internal = _pop_internal(model, content)
    named = _named(model, content, str(path)) | internal
    try:
        return model.model_validate(named)
    except ValidationError as error:
        raise ConfigError(describe(error, model, dict.fromkeys(named, str(path)))) from None


def _pop_internal(model: type[Settings], content: dict[str, Any]) -> dict[str, Any]:
    """Remove the settings from a run's configuration that are no options, and return them."""
    return {name: content.pop(name) for name in (model.model_fields.keys() - model.options().keys()) & content.keys()}


def _check_version(found: object, path: Path) -> None:
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ConfigError(f"{path}: {VERSION_KEY} is {found!r}; expected a whole number from 1 to {SCHEMA_VERSION}")
    if found > SCHEMA_VERSION:
        raise ConfigError(
            f"{path} was written by a newer mwr-hpc ({VERSION_KEY} {found}; this one knows up to {SCHEMA_VERSION}): "
            "update mwr-hpc, or use another run directory"
        )


def changed_settings(before: Settings, now: Settings) -> dict[str, tuple[object, object]]:
    """Return what differs though a continued run must share it: name -> (value before, value now)."""
    old, new = before.fixed_parameters(), now.fixed_parameters()
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}
