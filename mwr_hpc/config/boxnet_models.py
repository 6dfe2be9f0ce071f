"""Options of looking at the models that can be picked with."""

from typing import ClassVar, Self

from pydantic import ValidationInfo, model_validator

from mwr_hpc.config.fields import Settings, is_incomplete, option

INPUT = "Input"


class ModelListSettings(Settings):
    """Nothing: all models are listed."""

    command: ClassVar[str] = "boxnet model list"


class ModelShowSettings(Settings):
    """Which model to show."""

    command: ClassVar[str] = "boxnet model show"

    model: str | None = option(None, "Name of a model, or a model file (.h5).", group=INPUT, positional=True)

    @model_validator(mode="after")
    def _some_model(self, info: ValidationInfo) -> Self:
        if self.model is None and not is_incomplete(info):
            raise ValueError("found no model; name one: mwr-hpc boxnet model show BoxNetGeneric")
        return self
