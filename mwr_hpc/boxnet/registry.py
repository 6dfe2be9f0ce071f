"""The models that can be named: those that come with the program, and those of the user's own folder.

A model is one file, ``<name>.h5``; what is to be known of it stands in the file.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.atomic import disk_full_reported, partial_path, publish_new, require_writable, sync_path
from mwr_hpc.training.model_file import Description, Weights, read_description, read_model

PACKAGED = Path(__file__).parent / "models"
"""Models that come with the program."""

VARIABLE = "MWR_HPC_MODELS"
"""Environment variable that names another folder than the user's."""

SUFFIX = ".h5"
METHOD = "boxnet"
"""What the description of a picking network says; `mwr_hpc.boxnet.network` has it too, but imports TensorFlow."""


@dataclass(frozen=True)
class RegisteredModel:
    """A model that can be named.

    Attributes
    ----------
    name, path
        Its name and file.
    description
        What the file says of itself; None where it cannot be read, and `problem` says why.
    written
        When the file was.
    """

    name: str
    path: Path
    description: Description | None
    written: datetime
    problem: str = ""

    @property
    def packaged(self) -> bool:
        """Whether it came with the program."""
        return self.path.parent == PACKAGED


def models_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's models: ``MWR_HPC_MODELS``, else ``mwr_hpc/models`` in the user's data folder."""
    if named := environment.get(VARIABLE):
        return Path(named).expanduser().absolute()
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "mwr_hpc" / "models"


def find_model(name: str) -> Path:
    """Find a model.

    Parameters
    ----------
    name
        The name of a model, or the path of a model file (with a slash, or ending in .h5).

    Raises
    ------
    InputError
        There is none; names those that there are.
    """
    if "/" in name or name.endswith(SUFFIX):
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise InputError(f"{path}: no such model file; `mwr-hpc boxnet model list` lists the models with names")
        return path
    known = _files()
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise InputError(f"no model is named {name} in {models_folder()}; there are: {listed}")
    return known[name]


def list_models() -> list[RegisteredModel]:
    """All models by name."""
    return [_described(name, path) for name, path in sorted(_files().items())]


def show_model(name: str) -> RegisteredModel:
    """What there is to know of a model, by its name or path.

    Raises
    ------
    InputError
        There is none, or it cannot be read.
    """
    path = find_model(name)
    found = _described(path.stem, path)
    if found.description is None:
        raise InputError(found.problem)
    return found


def require_free(name: str, own: Path | None = None) -> None:
    """See that no model has a name.

    Parameters
    ----------
    name
        The name.
    own
        A model that may have it already.

    Raises
    ------
    InputError
        Another one has.
    """
    path = _files().get(name)
    if path is not None and not (own is not None and own.is_file() and own.read_bytes() == path.read_bytes()):
        raise InputError(f"--name {name}: a model of this name is there already, {path}; choose another name")


def publish(model: Path, name: str) -> Path:
    """Give a finished model a name: copy it to the user's folder, where it appears whole.

    Raises
    ------
    InputError
        The name is taken by another model, or the folder cannot be written to.
    DiskFullError
        No space is left.
    """
    require_free(name, model)
    folder = models_folder()
    target = folder / f"{name}{SUFFIX}"
    if target.is_file():
        return target
    require_writable(folder)
    with disk_full_reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
        partial = partial_path(target)
        try:
            shutil.copyfile(model, partial)
            sync_path(partial)
            publish_new(partial, target)
        except FileExistsError:
            require_free(name, model)
        finally:
            partial.unlink(missing_ok=True)
    return target


def read_picking_model(path: Path) -> tuple[Description, Weights]:
    """Read the description and the weights of a model that picks.

    Raises
    ------
    InputError
        The file is damaged or no model of this method, or says less than picking needs to know.
    """
    description, weights = read_model(path, METHOD)
    missing = {"architecture", "background_weight", "masks", "pixel_size", "threshold"} - description.keys()
    if missing:
        raise InputError(
            f"{path}: the model does not tell its {', '.join(sorted(missing))}: it was written by another version of "
            "the program; train it again with mwr-hpc boxnet retrain"
        )
    return description, weights


def _files() -> dict[str, Path]:
    """Names and files; what comes with the program cannot be replaced by a file of the same name."""
    found = [*models_folder().glob(f"*{SUFFIX}"), *PACKAGED.glob(f"*{SUFFIX}")]
    return {path.stem: path for path in found if path.is_file()}


def _described(name: str, path: Path) -> RegisteredModel:
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    try:
        description = read_description(path)
        if description.get("method") != METHOD:
            raise InputError(f"{path}: a model for {description.get('method')!r}, which picks no particles")
    except InputError as error:
        return RegisteredModel(name, path, None, written, str(error))
    return RegisteredModel(name, path, description, written)
