"""How an option is declared: once, as a pydantic field with its help, unit and spellings.

The command line, configuration files, the environment and the help pages are all made from these declarations.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.fields import FieldInfo

NONE_WORDS = ("none", "null")
AUTOMATIC_WORDS = ("auto", "automatic")


@dataclass(frozen=True)
class OptionInfo:
    """What an option is beside its type, default and description.

    Attributes
    ----------
    group
        Heading in the help.
    unit
        Unit of the value, or what to call it in the help.
    automatic
        In words, what None becomes; empty where None is refused or simply means "none".
    aliases
        Other spellings (underscores, lower case), such as MWR's.
    may_change
        Whether it may differ when a run is continued, because it does not change what is computed.
    positional
        Given as a bare argument of the command.
    suffixes
        File names the value must end in; they also tell bare arguments apart.
    values
        Words the option takes on the command line.
    must_exist
        What has to be there before any work starts; empty for what need not.
    internal
        Nobody gives it: it is decided at a run's first start and kept in the run's config.yaml.
    """

    group: str
    unit: str = ""
    automatic: str = ""
    aliases: tuple[str, ...] = ()
    may_change: bool = False
    positional: bool = False
    suffixes: tuple[str, ...] = ()
    values: int = 1
    must_exist: Literal["", "file", "folder", "file or folder"] = ""
    internal: bool = False

    @property
    def shown_aliases(self) -> tuple[str, ...]:
        """The other spellings that the help shows; gpu_id is gpuID but for case and underscore."""
        return tuple(alias for alias in self.aliases if alias != "gpu_id")


def option(
    default: object,
    description: str,
    *,
    group: str,
    unit: str = "",
    automatic: str = "",
    aliases: tuple[str, ...] = (),
    may_change: bool = False,
    positional: bool = False,
    suffixes: tuple[str, ...] = (),
    values: int = 1,
    must_exist: Literal["", "file", "folder", "file or folder"] = "",
    **limits: float,
) -> Any:
    """Declare one option; `limits` are pydantic's gt, ge, lt and le, the rest is `OptionInfo`.

    Returns Any as pydantic's Field does, so that each field keeps its own annotation.
    """
    info = OptionInfo(group, unit, automatic, aliases, may_change, positional, suffixes, values, must_exist)
    field = Field(default=default, description=description, **limits)  # type: ignore[call-overload]  # limits by name
    field.metadata.append(info)
    return field


def internal(description: str) -> Any:
    """Declare a setting that is no option: None until a run decides it, and in runs older than the setting."""
    field: Any = Field(default=None, description=description)
    field.metadata.append(OptionInfo(group="", internal=True))
    return field


def option_info(field: FieldInfo) -> OptionInfo:
    """Return the `OptionInfo` that `option` stored in a field."""
    return next(item for item in field.metadata if isinstance(item, OptionInfo))


def takes_none(field: FieldInfo) -> bool:
    """Whether None is a value of the field, for "none" or for "work it out"."""
    return type(None) in get_args(field.annotation) or bool(option_info(field).automatic)


def is_flag(field: FieldInfo) -> bool:
    """Whether the field is True or False (or None), so that its option may stand without a value."""
    return field.annotation is bool or bool in get_args(field.annotation)


def is_list(field: FieldInfo) -> bool:
    """Whether the field holds any number of values."""
    return Ellipsis in get_args(field.annotation)


def is_argument(field: FieldInfo) -> bool:
    """Whether the help shows the field as a bare argument; its name as an option is understood, but not advertised."""
    info = option_info(field)
    return info.positional and (is_list(field) or not info.suffixes)


def value_text(value: object) -> str:
    """Spell a value as one would type it: items of a list with commas, numbers without needless digits."""
    if isinstance(value, list | tuple):
        return ",".join(value_text(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def normalised(name: str) -> str:
    """Reduce a spelling of an option (dashes or underscores, any case) to the one that names are compared in."""
    return name.lstrip("-").replace("-", "_").lower()


class Settings(BaseModel):
    """Base of every command's settings: frozen, unknown names refused, defaults validated like values.

    Validating with ``context={"incomplete": True}`` lets required inputs be absent, for showing a configuration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    command: ClassVar[str]
    """Name of the command, also of its section in a site file."""

    typed: ClassVar[str] = ""
    """The command as it is typed, where that is more than its name."""

    runs_network: ClassVar[bool] = False
    """Whether the command trains or runs a network, so that TensorFlow has to be installed."""

    @model_validator(mode="before")
    @classmethod
    def _words_for_none(cls, values: object) -> object:
        """Let "None" be None where None is a value, and "auto" where it means "work it out"."""
        if not isinstance(values, dict):
            return values
        return {name: cls._none_or_value(name, value) for name, value in values.items()}

    @classmethod
    def _none_or_value(cls, name: str, value: object) -> object:
        field = cls.model_fields.get(name)
        if field is None or not isinstance(value, str) or not takes_none(field):
            return value
        word = value.strip().lower()
        is_none = word in NONE_WORDS or (word in AUTOMATIC_WORDS and bool(option_info(field).automatic))
        return None if is_none else value

    @classmethod
    def help_line(cls) -> str:
        """Return what one types for the command's help."""
        return f"mwr-hpc {cls.typed or cls.command} --help"

    @classmethod
    def spellings(cls) -> dict[str, str]:
        """Map every accepted spelling, normalised, to the name of its field."""
        spellings = {}
        for name, field in cls.options().items():
            for spelling in (name, *option_info(field).aliases):
                spellings[normalised(spelling)] = name
        return spellings

    def given(self) -> dict[str, Any]:
        """Return the values that were given and are not defaults; None, which leaves something open, is not given."""
        stated = self.model_dump(include=self.model_fields_set)
        return {name: value for name, value in stated.items() if value is not None}

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """Return the fields that can be given, by name: all but the internal ones."""
        return {name: field for name, field in cls.model_fields.items() if not option_info(field).internal}

    def to_parameters(self) -> dict[str, Any]:
        """Return all values as JSON-able objects, from which `model_validate` makes equal settings again."""
        return self.model_dump(mode="json")

    def fixed_parameters(self) -> dict[str, Any]:
        """Return the values that a continued run must share with the run it continues."""
        fixed = {name for name, field in type(self).model_fields.items() if not option_info(field).may_change}
        return self.model_dump(mode="json", include=fixed)


def is_incomplete(info: ValidationInfo) -> bool:
    """Whether required inputs may be absent, because a configuration is only shown."""
    return bool((info.context or {}).get("incomplete"))
