"""`mwr-hpc boxnet model list|show`: the models that there are, and what is known of them."""

from typing import TYPE_CHECKING, Any

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say, say_json
from mwr_hpc.cli.running import settings_from
from mwr_hpc.cli.words import Given
from mwr_hpc.config.boxnet_models import ModelListSettings, ModelShowSettings

if TYPE_CHECKING:
    from mwr_hpc.boxnet.registry import RegisteredModel

LIST_HELP = """List the models that can be named: those that come with the program, and your own.

Your own are in the folder that MWR_HPC_MODELS names, else in mwr_hpc/models in your data folder (~/.local/share).

\b
  mwr-hpc boxnet model list --json
"""

SHOW_HELP = """Tell what is known of a model.

Its parent, date, data, figures and threshold stand in its file, and whether it knows contamination.

\b
  mwr-hpc boxnet model show BoxNetGeneric
"""


def add_to(group: typer.Typer) -> None:
    """Add the command group."""
    model = typer.Typer(
        help="Look at the models that can be picked with.", no_args_is_help=True, rich_markup_mode="rich"
    )
    add_command(model, "list", ModelListSettings, run_list, text=LIST_HELP, has_json=True)
    add_command(model, "show", ModelShowSettings, run_show, text=SHOW_HELP, has_json=True)
    group.add_typer(model, name="model")


def run_list(given: Given) -> int:
    """Print a line for each model."""
    settings_from(ModelListSettings, given)
    from mwr_hpc.boxnet.registry import list_models, models_folder

    models = list_models()
    if given.json:
        say_json([_as_record(model) for model in models])
        return 0
    for model in models:
        say(_as_line(model))
    if not models:
        say(f"There are no models in {models_folder()}.")
    return 0


def run_show(given: Given) -> int:
    """Print everything about one model."""
    settings = settings_from(ModelShowSettings, given)
    assert settings.model is not None, "the settings require a model"
    from mwr_hpc.boxnet.registry import show_model

    record = _as_record(show_model(settings.model))
    if given.json:
        say_json(record)
        return 0
    for name, value in record.items():
        say(f"{name.replace('_', ' ')}: {_in_words(value)}")
    return 0


def _as_record(model: "RegisteredModel") -> dict[str, Any]:
    where = {"name": model.name, "path": str(model.path), "date": f"{model.written:%Y-%m-%d}"}
    if model.description is None:
        return {**where, "problem": model.problem}
    return {**where, **{key: value for key, value in model.description.items() if key != "name"}}


def _as_line(model: "RegisteredModel") -> str:
    if model.description is None:
        return f"{model.name:<24} cannot be used: {model.problem}"
    parent = model.description.get("parent") or "scratch"
    precision = model.description.get("figures", {}).get("average_precision")
    judged = f"AP {precision:.3f}" if precision is not None else "not judged"
    masks = "masks" if model.description.get("masks") else "no masks"
    data = len(model.description.get("training_set", {}).get("micrographs", []))
    origin = "comes with the program" if model.packaged else f"{model.written:%Y-%m-%d}"
    return f"{model.name:<24} from {parent:<20} {data:>5} micrographs  {judged:<12} {masks:<9} {origin}"


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(inner)}" for name, inner in value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{len(value)}: " + ", ".join(str(one.get("name", one)) for one in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
