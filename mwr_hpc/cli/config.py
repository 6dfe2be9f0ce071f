"""`mwr-hpc config show`: every value of a command's settings and where it comes from."""

import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand

from mwr_hpc.cli.options import HELP_WORDS, reflowed
from mwr_hpc.cli.output import say, say_json, say_table
from mwr_hpc.cli.running import implied_values
from mwr_hpc.cli.words import WordReader
from mwr_hpc.config.fields import Settings, value_text
from mwr_hpc.config.loading import Resolved, resolve
from mwr_hpc.config.schema import COMMANDS
from mwr_hpc.installation import shipped_file

HELP = f"""Show every value of a command's settings, and where it comes from.

COMMAND is one of {", ".join(COMMANDS)} (default: train); after it stand any options of that command. Later sources win:
defaults, site file (--site or MWR_HPC_SITE), --config FILE.yaml, environment (MWR_HPC_CUBE_SIZE=48), command line.
With --json it prints JSON.

\b
  mwr-hpc config show train --config lab.yaml --cube_size 48
  mwr-hpc config show predict --json
"""

SITE_HELP = """Print an example of a site file, which says what jobs of SLURM ask for at your site.

\b
  mwr-hpc config site > site.yaml
  mwr-hpc submit train --input_dir tomograms --site site.yaml --dry-run
"""

HOROVOD_HELP = """Print the script that builds Horovod, for training with several ranks, and installs it.

It takes 4 to 10 minutes, once, and needs g++ and cmake; no root.

\b
  mwr-hpc config horovod > build_horovod.sh
  bash build_horovod.sh "$(command -v python)"
"""


class ShowCommand(TyperCommand):
    """Takes another command's name and options instead of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave the words to the callback, except for a call for help."""
        if HELP_WORDS & set(args):
            return super().parse_args(ctx, ["--help"])
        ctx.obj = list(args)
        return super().parse_args(ctx, [])


def add_to(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(help="Show the configuration, and print files to start from.", no_args_is_help=True)
    group.command("show", cls=ShowCommand, help=reflowed(HELP), options_metavar="[COMMAND] [OPTIONS OF IT]")(show)
    group.command("site", help=reflowed(SITE_HELP))(print_site_example)
    group.command("horovod", help=reflowed(HOROVOD_HELP))(print_horovod_script)
    app.add_typer(group, name="config")


def print_site_example() -> None:
    """Print the example of a site file."""
    say(*shipped_file("configs/sites/example.yaml").read_text().splitlines())


def print_horovod_script() -> None:
    """Print the script that builds Horovod."""
    say(*shipped_file("tools/build_horovod.sh").read_text().splitlines())


def show(context: typer.Context) -> None:
    """Print the settings as a table on a terminal, else one line a value, or as JSON."""
    words: list[str] = context.obj
    # The longest name that the words begin with: "boxnet examples prepare" is one.
    names = {count: " ".join(words[:count]).replace("_", "-") for count in (3, 2, 1)}
    count = next((count for count, name in names.items() if name in COMMANDS), 0)
    command, words = names.get(count, "train"), words[count:]
    given = WordReader(COMMANDS[command], words, has_json=True).read()
    resolved = resolve(
        COMMANDS[command],
        given.values,
        config=given.config,
        site=given.site,
        environment=os.environ,
        implied=implied_values(COMMANDS[command], given),
        incomplete=True,
    )
    if given.json:
        say_json(as_record(resolved), indent=2)
    elif sys.stdout.isatty():
        print_table(command, resolved)
    else:
        for name, value in values_as_text(resolved).items():
            say(f"{name}: {value}  # {resolved.origins[name]}")


def values_as_text(resolved: Resolved[Settings]) -> dict[str, str]:
    """Spell each value as one would type it."""
    values = {name: getattr(resolved.settings, name) for name in resolved.settings.options()}
    return {name: value_text(value) for name, value in values.items()}


def as_record(resolved: Resolved[Settings]) -> dict[str, dict[str, object]]:
    """Give value and origin of each option, for JSON."""
    values = resolved.settings.to_parameters()
    return {name: {"value": values[name], "origin": resolved.origins[name]} for name in resolved.settings.options()}


def print_table(command: str, resolved: Resolved[Settings]) -> None:
    """Print option, value and origin in columns."""
    rows = [(name, value, resolved.origins[name]) for name, value in values_as_text(resolved).items()]
    styles = [None if origin.startswith("default") else "bold" for _, _, origin in rows]
    say_table(("option", "value", "from"), rows, styles, title=f"mwr-hpc {command}")
