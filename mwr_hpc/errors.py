"""The exceptions that mwr_hpc raises on purpose, and the exit code of each.

Exit codes are part of the interface, SLURM and the job scripts act on them:
0 all done, 1 some units failed (listed), 2 bad configuration or input, 70 a fault of the program or of the machines,
85 stopped in good order, start the same command again.
"""

from pathlib import Path

FAULT = 70
"""EX_SOFTWARE of sysexits.h; not 1, which says that all but some units is done."""


class MwrError(Exception):
    """Base of every deliberate error; its text is written for the user, who never sees a traceback of it."""

    exit_code = FAULT


class ConfigError(MwrError):
    """An option, a configuration file or a combination of values that cannot work."""

    exit_code = 2


class InputError(MwrError):
    """A file that cannot be used; the text names it, what was found, what was expected and what to do."""

    exit_code = 2


class DiskFullError(InputError):
    """No space or no quota left: stops the run (no tomogram is to blame), which goes on when started again."""


class DamagedArrayError(InputError):
    """Stored bytes are not those that were written; who knows how the array was made makes it again.

    Parameters
    ----------
    path
        What has to be made again: the array's folder, or the file.
    what
        What is wrong with it.
    advice
        What to do where nobody makes it again by himself.
    """

    def __init__(self, path: Path, what: str, advice: str = "remove it, make it again, and check the disk") -> None:
        super().__init__(path, what, advice)
        self.path = path
        self.what = what

    def __str__(self) -> str:
        """Name the array, what is wrong and what to do."""
        path, what, advice = self.args
        return f"{path}: {what}; {advice}"


class StageError(MwrError):
    """A unit of work failed for a reason that is not its input's."""


class ClusterError(MwrError):
    """Workers, ranks or the batch system failed."""


class StopRequested(MwrError):
    """Somebody asked for a stop (Ctrl-C, SIGTERM, SIGUSR1) and everything needed to go on is on disk."""

    exit_code = 85


class StorageError(StopRequested):
    """The storage failed again and again (EIO, ESTALE, ...): no input is to blame, and the run can go on later."""


class WorkGoesOn(StopRequested):
    """A stop after which a job of the batch system goes on with the run: what it is writing must be left alone."""
