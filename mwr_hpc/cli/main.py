"""The program `mwr-hpc` (and `mwr_cli.py`, for scripts written for MWR): its commands and its exit codes."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from mwr_hpc import __version__
from mwr_hpc.cli import (
    cancel,
    check,
    cohort,
    config,
    convert,
    demo,
    evaluate,
    generate_noise,
    make_mask,
    plan,
    predict,
    retry,
    simulate,
    status,
    submit,
    train,
)
from mwr_hpc.cli.boxnet import group as boxnet
from mwr_hpc.cli.options import reflowed
from mwr_hpc.cli.output import escape_all_output, say, say_traceback
from mwr_hpc.cli.running import called_as_mwr
from mwr_hpc.errors import FAULT, MwrError, StopRequested, StorageError
from mwr_hpc.io.storage import is_of_a_file, storage_error

HELP = """Fill in the missing wedge of cryo-electron tomograms.

Train a network on the tomograms themselves, then correct them with it:

\b
  mwr-hpc train --input_dir tomograms --tilt_range -60 60
  mwr-hpc predict mwr_run/results/model_iter30.h5 tomograms/*.mrc

Try it without data: mwr-hpc demo. Options may be written with dashes or underscores.

\b
Exit codes:
   0  all done
   1  done, but some tomograms failed, or changed after the training; they are listed
   2  options or input that cannot work
  70  a fault of the program, of a rank or of the batch system
  85  stopped in good order; the same command goes on
"""

app = typer.Typer(
    help=reflowed(HELP),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a traceback is a bug's, and wanted in full
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    *(train, predict, plan, check, cohort, make_mask, generate_noise),
    *(submit, status, retry, cancel),
    *(convert, simulate, evaluate, demo, config, boxnet),
):
    group.add_to(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"mwr-hpc {__version__}")
        raise typer.Exit()


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


def _stop_for_storage(error: Exception) -> None:
    """Exit as after a stop where the storage failed under something that belongs to no tomogram."""
    cause = storage_error(error)
    if cause is not None and is_of_a_file(cause):
        named = f"{cause.filename}: " if cause.filename else ""
        say(
            f"Stopped: {named}{cause.strerror}: the storage failed, and no input is to blame.",
            "Give the same command again to go on, once it works.",
            err=True,
        )
        sys.exit(StorageError.exit_code)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit.

    Parameters
    ----------
    words
        The command line; None: the process's own.
    """
    escape_all_output()
    try:
        app(args=words, prog_name=Path(sys.argv[0]).name if called_as_mwr() else "mwr-hpc")
    except StopRequested as stop:
        say(f"Stopped in good order: {stop}", "Give the same command again to go on.", err=True)
        sys.exit(stop.exit_code)
    except MwrError as error:
        _stop_for_storage(error)
        say(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        _stop_for_storage(error)
        say_traceback(error)
        say("This is a fault of the program: please report it, with all the lines above.", err=True)
        sys.exit(FAULT)
    sys.exit(0)


if __name__ == "__main__":
    main()
