"""Check the settings of a run before anything is read or trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import lightning.pytorch as pl
from annotated_types import Ge, Gt

from zoo import factory
from zoo.checks import NotNegative, Positive, check_settings
from zoo.config.overrides import given
from zoo.config.targets import class_of, make
from zoo.config.trainer import refused
from zoo.data.module import DataModule
from zoo.data.spec import DataSpec
from zoo.data.user import UserData, existing
from zoo.errors import ZooError, unknown
from zoo.evaluation.settings import Settings
from zoo.models.core.precision import Float32Matmul
from zoo.running.fit import TIMEOUT_MIN, check_precision, processes, strategy
from zoo.running.spec import RunSpec
from zoo.tracking.logger import check_logger
from zoo.training.distributed import Compression, check_shares
from zoo.training.module import TrainingModule


def check_run(spec: RunSpec) -> None:
    """Check that every setting exists and has the right type and range.

    Whether a model suits the data is checked later, when it is built.

    Raises:
        ZooError: a setting does not exist, or has a wrong type or value.
    """
    for section in CHECKS:
        check_section(section, getattr(spec, section))
    check_batch(spec.training, spec.trainer)
    _check_training_given(spec)


def check_model_given(spec: RunSpec, data: DataSpec) -> None:
    """Check that the model built for these data reads every ``model.*`` setting of the command line.

    The jobs of a sweep are not checked: a sweep gives a setting to all of its jobs, whatever their model.

    Raises:
        ZooError: the model does not read a setting.
    """
    if spec.sweep is None:
        factory.check_given(spec.model, data, given(spec.overrides, "model"))


def _check_training_given(spec: RunSpec) -> None:
    """Raise a ZooError if the command line sets a ``training.*`` setting that this training does not read."""
    module: type[TrainingModule] = class_of(spec.training, "training", TrainingModule)
    ignored = [f"training.{name}" for name in given(spec.overrides, "training") if name in module.unread]
    if ignored and spec.sweep is None:
        raise ZooError(
            f"{module.__name__} does not read {' and '.join(ignored)}; leave "
            f"{'it' if len(ignored) == 1 else 'them'} out."
        )


def check_section(section: str, settings: Mapping[str, Any]) -> None:
    """Check the settings of one section of the configuration; no data are read.

    Args:
        section: its name, one of :data:`CHECKS`.
        settings: the section as plain values, with its ``_target_``.

    Raises:
        ZooError: a setting does not exist, or has a wrong type or value.
    """
    CHECKS[section](settings)


def check_batch(training: Mapping[str, Any], trainer: Mapping[str, Any]) -> None:
    """Check that the global batch can be divided among the processes that the configuration names.

    Args:
        training: the section ``training``.
        trainer: the section ``trainer``. If it does not set the number of processes, one is assumed.

    Raises:
        ZooError: the batch cannot be divided evenly.
    """
    size = training.get("batch_size")
    if size is not None:
        check_shares(int(size), processes(trainer) or 1, int(training.get("accumulate", 1)))


def _values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a section without its ``_target_``."""
    return {key: value for key, value in settings.items() if key != "_target_"}


def _model(settings: Mapping[str, Any]) -> None:
    model = class_of(settings, "model")
    if model.__module__.startswith("zoo."):
        check_settings(model.__init__, _values(settings), "model")


def _data(settings: Mapping[str, Any]) -> None:
    data = class_of(settings, "data", DataModule)
    if data.__module__.startswith("zoo."):
        module = make(data, settings, "data")  # reads nothing
        if isinstance(module, UserData):
            existing(module.path, module.name, "FILE_OR_FOLDER")


def _training(settings: Mapping[str, Any]) -> None:
    module: type[TrainingModule] = class_of(settings, "training", TrainingModule)
    module.checked(_values(settings))


def _evaluation(settings: Mapping[str, Any]) -> None:
    Settings.of(settings)


def _trainer(settings: Mapping[str, Any]) -> None:
    trainer = class_of(settings, "trainer", pl.Trainer)
    values = _values(settings)
    is_lightnings = trainer.__module__.startswith(("lightning.", "pytorch_lightning."))
    for name in values:
        if name in _ALL_OF_LIGHTNING - _CHANGEABLE:
            raise refused(name)
        if is_lightnings and name not in _CHANGEABLE:
            raise unknown("setting of trainer", str(name), _CHANGEABLE)
    changeable = {name: value for name, value in values.items() if name in _CHANGEABLE}
    check_settings(_changeable_trainer_settings, changeable, "trainer")
    check_precision(settings)
    strategy(settings)


def _changeable_trainer_settings(
    *,
    accelerator: str,
    devices: Annotated[int, Ge(-1)] | Sequence[NotNegative] | Literal["auto"],
    num_nodes: Positive = 1,
    strategy: str = "auto",
    timeout_min: Annotated[float, Gt(0)] = TIMEOUT_MIN,
    precision: str | int = "32-true",
    float32_matmul: Float32Matmul = "highest",
    gradient_compression: Compression = "none",
    async_checkpoints: bool = True,
    deterministic: bool | Literal["warn"] | None = None,
    benchmark: bool | None = None,
    detect_anomaly: bool = False,
) -> None:
    """Declare by this signature which settings of ``trainer`` a user may change, their types and ranges.

    Lightning's other settings are refused: zoo sets them itself, or they would contradict what it sets.
    """


CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "model": _model,
    "data": _data,
    "training": _training,
    "evaluation": _evaluation,
    "trainer": _trainer,
    "logger": check_logger,
}
_CHANGEABLE = frozenset(inspect.signature(_changeable_trainer_settings).parameters)
_ALL_OF_LIGHTNING = frozenset(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
