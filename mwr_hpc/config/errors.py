"""Says in one message what is wrong with a value: the option, the value, where it came from, what would do."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from mwr_hpc.config.fields import Settings, is_flag, option_info, value_text

EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "True or False",
    "bool_type": "True or False",
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "missing": "one value more",
    "too_long": "fewer values",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
}


def describe(error: ValidationError, model: type[Settings], origins: dict[str, str]) -> str:
    """Turn pydantic's report into one line for each option at fault."""
    lines: dict[str, str] = {}
    for details in error.errors():
        name = str(details["loc"][0]) if details["loc"] else ""
        lines.setdefault(name or details["msg"], _line(name, details, model, origins))
    return "\n".join(lines.values())


def _line(name: str, details: ErrorDetails, model: type[Settings], origins: dict[str, str]) -> str:
    context: dict[str, Any] = details.get("ctx", {})
    if not name:
        return f"{context['error']} (see '{model.help_line()}')"
    origin = origins.get(name, "default")
    if details["type"] == "value_error":
        return f"--{name} {value_text(details['input'])} ({origin}): {context['error']}"
    expected = EXPECTED.get(details["type"], details["msg"].removeprefix("Input should be ")).format(**context)
    found = value_text(details["input"]) if details["type"] != "missing" else "too few values"
    return f"--{name} {found} ({origin}): expected {expected}{_example(name, model)}"


def _example(name: str, model: type[Settings]) -> str:
    field = model.model_fields[name]
    default = field.default
    if is_flag(field) or default in (None, (), PydanticUndefined):
        return f"; see '{model.help_line()}'"
    text = " ".join(map(value_text, default)) if option_info(field).values > 1 else value_text(default)
    return f"; for example --{name} {text}"
