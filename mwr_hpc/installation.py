"""Files that come with the program, the packages that it requires, and the commands that add what is missing."""

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mwr_hpc.errors import ConfigError

DISTRIBUTION = "mwr-hpc"
HOROVOD_RECIPE = (
    f"`mwr-hpc config horovod > build_horovod.sh`, then `bash build_horovod.sh {sys.executable}` builds it once "
    "(4 to 10 minutes, needs g++ and cmake)"
)
"""Commands that build Horovod and install it into this environment."""


def shipped_file(relative: str) -> Path:
    """Return a file that comes with the program, as installed or in its source folder.

    Parameters
    ----------
    relative
        Its path in the source folder, such as "jobs/train.sbatch".

    Raises
    ------
    ConfigError
        The installation lacks it.
    """
    places = [Path(__file__).parents[1], Path(sys.prefix) / "share" / "mwr-hpc"]
    for place in places:
        if (place / relative).is_file():
            return place / relative
    raise ConfigError(f"{relative} is neither in {places[0]} nor in {places[1]}: install mwr-hpc again")


def missing_packages() -> list[str]:
    """Return the names of required packages that are not installed, TensorFlow not among them."""
    return [name for name, _ in _requirements(extra=None) if not _is_installed(name)]


def install_command(packages: list[str]) -> str:
    """Return the command that adds packages to this environment."""
    return f"{sys.executable} -m pip install {' '.join(packages)}"


def tensorflow_advice() -> str | None:
    """Say how to install TensorFlow; None where it is installed."""
    if importlib.util.find_spec("tensorflow") is not None:
        return None
    for_processors, for_gpus = ([text for _, text in _requirements(extra)] for extra in ("cpu", "gpu"))
    return (
        f"TensorFlow is not installed: run `{install_command(for_processors)}`, or on a machine with an NVIDIA GPU "
        f"`{install_command([repr(text) for text in for_gpus])}`"
    )


def require_packages(tensorflow: bool) -> None:
    """See, before any work, that everything a command needs is installed.

    Parameters
    ----------
    tensorflow
        Whether the command trains or runs a network.

    Raises
    ------
    ConfigError
        Something is missing; the text has the command that adds it.
    """
    if missing := missing_packages():
        raise ConfigError(f"{', '.join(missing)}: not installed; run `{install_command(missing)}`")
    if tensorflow and (advice := tensorflow_advice()):
        raise ConfigError(advice)


def _requirements(extra: str | None) -> Iterator[tuple[str, str]]:
    """Yield name and version text of what the installed program requires, or what one of its extras adds."""
    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:  # run from a source folder that nobody installed
        return
    for requirement in declared:
        text, _, marker = (part.strip() for part in requirement.partition(";"))
        belongs_to = re.search(r"extra == [\"'](\w+)[\"']", marker)
        if (belongs_to.group(1) if belongs_to else None) == extra:
            name = re.match(r"[\w.-]+", text)
            assert name is not None, "a requirement begins with a name"
            yield name.group(), text


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
