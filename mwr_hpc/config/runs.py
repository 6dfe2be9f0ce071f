"""Options of the commands that look after runs: status, retry, cancel."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator

from mwr_hpc.config.fields import Settings, option
from mwr_hpc.config.values import FilePath

RUN = "Run"
FOLDER = "Folder that the run writes to (--run_dir of train, --out of predict and of others)."

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class StatusSettings(Settings):
    """Which run to look at."""

    command: ClassVar[str] = "status"

    run: FilePath = option(Path("mwr_run"), FOLDER, group=RUN, positional=True, must_exist="folder")
    watch: bool = option(False, "Look again every few seconds, until Ctrl-C or the end of the run.", group=RUN)
    verify: bool = option(
        False,
        "Read all arrays, models and checkpoints, compare them with their checksums, name those that are damaged.",
        group=RUN,
    )


class RetrySettings(Settings):
    """Which tomograms to take in again."""

    command: ClassVar[str] = "retry"

    run: FilePath = option(Path("mwr_run"), FOLDER, group=RUN, positional=True, must_exist="folder")
    ids: Names = option((), "Ids of tomograms; none: all that are left out.", group=RUN, positional=True)


class CancelSettings(Settings):
    """Which run to end."""

    command: ClassVar[str] = "cancel"

    run: FilePath = option(Path("mwr_run"), FOLDER, group=RUN, positional=True, must_exist="folder")
