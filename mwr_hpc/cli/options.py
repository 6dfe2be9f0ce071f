"""Turns a command's settings into the options of a typer command: grouped, described, with defaults and units."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from mwr_hpc.cli.words import Given, WordReader
from mwr_hpc.config.fields import Settings, is_argument, is_flag, is_list, option_info, value_text
from mwr_hpc.errors import StopRequested

GENERAL = "General"
HELP_WORDS = {"--help", "-h"}


def add_command(
    app: typer.Typer,
    name: str,
    settings: type[Settings],
    run: Callable[[Given], int],
    *,
    text: str,
    has_json: bool = False,
) -> None:
    """Add a command whose options are `settings`; `run` does it and returns the exit code, `text` is its help."""

    class Command(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if ctx.resilient_parsing:  # shell completion
                return super().parse_args(ctx, args)
            if HELP_WORDS & set(args):
                return super().parse_args(ctx, ["--help"])
            ctx.obj = WordReader(settings, args, has_json).read()
            return super().parse_args(ctx, [])

    def callback(context: typer.Context, **options: object) -> None:
        try:
            code = run(context.obj)
        except KeyboardInterrupt:  # before or after the work, which takes a Ctrl-C as a request
            raise StopRequested("nothing was being written") from None
        raise typer.Exit(code)

    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    parameters += help_parameters(settings, has_json)
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    callback.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name, cls=Command, help=reflowed(text))(callback)
    if "-" in name:
        # As with options, the spelling of MWR's command lines works too.
        app.command(name.replace("-", "_"), cls=Command, help=reflowed(text), hidden=True)(callback)


class WordsCommand(TyperCommand):
    """Takes another command's name and options beside its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave the words to the callback, except for a call for help."""
        if HELP_WORDS & set(args) or not args:
            return super().parse_args(ctx, ["--help"])
        ctx.obj = list(args)
        return super().parse_args(ctx, [])


def reflowed(text: str) -> str:
    """Join the lines of each paragraph, which typer would keep; examples, marked by a backspace, stay as they are."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(part if part.startswith("\b") else part.replace("\n", " ") for part in paragraphs)


def help_parameters(settings: type[Settings], has_json: bool) -> Iterator[inspect.Parameter]:
    """Yield the options as typer's help and shell completion want to know them; their values come from `WordReader`."""
    for name, option in settings.options().items():
        info = option_info(option)
        text = help_text(option)
        if is_argument(option):
            metavar = name.upper().removesuffix("S") + ("..." if is_list(option) else "")
            declared = typer.Argument(metavar=metavar, help=text, show_default=False)
        else:
            declared = typer.Option(
                f"--{name}", metavar=value_name(option), help=text, rich_help_panel=info.group, show_default=False
            )
        yield _parameter(name, declared)
    yield _general("config", "FILE.yaml", "File that sets any of these options: 'cube_size: 48'.")
    yield _general("site", "FILE.yaml", "The same for all commands of a site; the variable MWR_HPC_SITE names it too.")
    if has_json:
        yield _general("json", " ", "Print JSON.")


def _general(name: str, metavar: str, text: str) -> inspect.Parameter:
    declared = typer.Option(f"--{name}", metavar=metavar, help=text, rich_help_panel=GENERAL, show_default=False)
    return _parameter(name, declared)


def _parameter(name: str, declared: object) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, declared]
    )


def help_text(option: FieldInfo) -> str:
    """Describe one option: what it is, its other spellings, its default with the unit."""
    info = option_info(option)
    also = "".join(f" Also --{alias}." for alias in info.shown_aliases)
    if info.automatic:
        default = info.automatic
    elif option.default in (None, ()):
        return f"{option.description}{also}"
    else:
        default = " ".join(map(value_text, option.default)) if info.values > 1 else value_text(option.default)
        default = f"{default} {info.unit}".rstrip()
    return f"{option.description}{also} \\[default: {default}]"


def value_name(option: FieldInfo) -> str:
    """Name what an option takes, for the help: its choices, its unit, a number, a path or text."""
    info = option_info(option)
    if is_flag(option):
        return "True|False"
    kinds = tuple(_kinds(option.annotation))
    choices = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())
    if choices:
        return "|".join(choices)
    noun = info.unit.upper() or ("NUMBER" if int in kinds or float in kinds else "PATH" if Path in kinds else "TEXT")
    return " ".join([noun] * info.values) + ("..." if is_list(option) else "")


def _kinds(annotation: object) -> Iterator[object]:
    """Yield a type and all the types that it is made of."""
    yield annotation
    for part in get_args(annotation) if get_origin(annotation) is not Literal else ():
        yield from _kinds(part)
