"""Check the settings of a run before anything is read or trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import lightning.pytorch as pl
from annotated_types import Ge

from zoo.checks import NotNegative, Positive, build_settings, check_settings
from zoo.config.targets import class_of
from zoo.data.module import DataModule
from zoo.evaluation.settings import Settings
from zoo.running.fit import check_precision, strategy
from zoo.running.spec import RunSpec
from zoo.tracking.logger import check_logger
from zoo.training.module import TrainingModule


def check(spec: RunSpec) -> None:
    """Check the type and range of every setting by its name.

    What depends on the data, such as whether a model can be built for their shape, shows when it is built.

    Raises:
        ZooError: a setting does not exist, or has a wrong type or value.
    """
    model = class_of(spec.model, "model")
    data = class_of(spec.data, "data", DataModule)
    training = class_of(spec.training, "training", TrainingModule)
    class_of(spec.trainer, "trainer", pl.Trainer)
    build_settings(training.Settings, _values(spec.training), "training")
    Settings.of(spec.evaluation)
    if data.__module__.startswith("zoo."):
        check_settings(data.__init__, _values(spec.data), "data")
    if model.__module__.startswith("zoo."):
        check_settings(model.__init__, _values(spec.model), "model")
    check_settings(_trainer, _values(spec.trainer), "trainer")
    check_precision(spec.trainer)
    strategy(spec.trainer)
    check_logger(spec.logger)


def _values(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "_target_"}


def _trainer(
    *,
    accelerator: str,
    devices: Annotated[int, Ge(-1)] | Sequence[NotNegative] | Literal["auto"],
    num_nodes: Positive = 1,
    strategy: str = "auto",
    precision: str | int = "32-true",
    **others: Any,
) -> None:
    """The trainer's settings whose types zoo relies on; Lightning checks all others."""
