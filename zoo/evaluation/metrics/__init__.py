"""The protocol's metrics, one file each.

A file in this folder declares its metric::

    @metric("spread", unit="grey levels", direction="higher", needs=("samples", "pixels"))
    def spread(context: Context) -> Value:
        '''One sentence that a reader of the table understands.'''
        return Value(context.pixels("samples").double().std().item())

This makes it part of the protocol, without a list to edit: :func:`definitions` finds every file, in the order
of their names, and :func:`measure` computes each metric whose needs the model and the data meet. Each file
also defines its metric as a :class:`torchmetrics.Metric`, which the declared function uses;
:mod:`zoo.metrics` exports them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.evaluation.base import TwoSampleMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.features import INCEPTION, LARGE
from zoo.models.core.capabilities import HasBoundParts, HasPaths, missing
from zoo.record import Direction, Kind, Metric

DRAWS = 10  # of real examples behind a floor


@dataclass(frozen=True)
class Need:
    """An input that metrics are computed from.

    Attributes:
        fits: whether data and model of this kind have the input; otherwise the metric does not exist for
            them.
        missing: reason why the input is missing nevertheless (the metric is then an empty cell with this
            reason), or None.
    """

    fits: Callable[[Context], bool]
    missing: Callable[[Context], str | None] = lambda context: None


NEEDS = {
    "samples": Need(lambda context: True, Context.flaw),
    "points": Need(lambda context: not context.spec.is_image),
    "plane": Need(lambda context: context.spec.shape == (2,)),
    "paths": Need(lambda context: not missing(context.model, HasPaths)),
    "bound": Need(lambda context: not missing(context.model, HasBoundParts)),
    "pixels": Need(lambda context: context.spec.is_image and context.spec.levels is not None),
    "features": Need(
        lambda context: context.spec.is_image,
        lambda context: None if context.extractor is not None else context.no_extractor,
    ),
    "reference": Need(lambda context: context.spec.is_image),
    "training set": Need(
        lambda context: True,
        lambda context: None if len(context.splits.get("train", ())) else "There are no training examples.",
    ),
    "modes": Need(lambda context: context.modes is not None),
    "model": Need(lambda context: context.model is not None),
}


@dataclass(frozen=True)
class Definition:
    """The declaration of a metric.

    Attributes:
        name: name in the record; the extractor's name is appended for a feature metric: ``kid/digits-cnn``;
            and ``train`` where training images stand in for too few test images.
        compute: the declared function.
        unit: ``1`` for a plain number.
        direction: which value is better: ``lower``, ``higher``, or ``one`` (the nearer to 1); ``none`` for a
            metric that does not rank models.
        kind: see :class:`zoo.record.Metric`.
        needs: names of :data:`NEEDS`.
        floor: split whose real examples replace the samples, to compute the value that a perfect model would
            reach with as many samples; None if there is no such value.
        split_again: whether the value is also computed between parts of all real examples.
        draws: number of draws of real examples behind the floor; a third in many features, where one is slow.
    """

    name: str
    compute: Callable[[Context], Value]
    unit: str
    direction: Direction
    kind: Kind
    needs: tuple[str, ...]
    floor: str | None
    split_again: bool = False
    draws: int = DRAWS

    def key(self, context: Context) -> str:
        """Return the metric's name in the record."""
        if "features" not in self.needs:
            return self.name
        extractor = context.extractor
        end = "/train" if context.stand_in and "reference" in self.needs else ""
        if self.name == "fd":
            if extractor is not None:
                return extractor.key + end
            return "fid" if context.natural and context.settings.extractor in (None, INCEPTION) else "fd"
        return f"{self.name}/{extractor.name}{end}" if extractor is not None else self.name


def metric(
    name: str,
    *,
    needs: tuple[str, ...],
    unit: str = "1",
    direction: Direction = "lower",
    kind: Kind = "estimate",
    floor: str | None = "train",
    split_again: bool = False,
    draws: int = DRAWS,
) -> Callable[[Callable[[Context], Value]], Definition]:
    """Return a decorator that declares a function as a metric; for the arguments see :class:`Definition`."""
    for need in needs:
        if need not in NEEDS:
            raise ValueError(f"The metric '{name}' needs '{need}'; known are {', '.join(NEEDS)}.")
    return lambda compute: Definition(
        name, compute, unit, direction, kind, needs, floor if "samples" in needs else None, split_again, draws
    )


def compare(two_sample: TwoSampleMetric, generated: Tensor, real: Tensor) -> Value:
    """Return the metric's value for generated and real examples."""
    two_sample.update(real, real=True)
    two_sample.update(generated, real=False)
    return two_sample.estimate()


@functools.cache
def definitions() -> tuple[Definition, ...]:
    """Return every metric in this package's files, in the order of the files' names.

    Raises:
        ZooError: two files declare the same name.
    """
    by_name: dict[str, Definition] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for value in vars(importlib.import_module(f"{__name__}.{module}")).values():
            if isinstance(value, Definition) and by_name.setdefault(value.name, value) is not value:
                raise ZooError(f"Two files of zoo/evaluation/metrics declare '{value.name}'; rename one.")
    return tuple(by_name.values())


def measure(context: Context, drawn: dict[str, Any] | None = None) -> dict[str, Metric]:
    """Return all metrics that fit the model and the data, by their names in the record.

    A metric that cannot be computed soundly has a reason instead of a value; the others are still computed.

    Args:
        context: the model, its samples and the real data.
        drawn: settings of the model's sampler, which are added to the details of every metric of samples.
    """
    return dict(_measure(context, drawn or {}))


def _measure(context: Context, drawn: dict[str, Any]) -> Iterator[tuple[str, Metric]]:
    for definition in definitions():
        needs = [NEEDS[name] for name in definition.needs]
        if not all(need.fits(context) for need in needs):
            continue
        of_samples = "samples" in definition.needs
        result = Metric(
            None,
            definition.unit,
            definition.kind,
            definition.direction,
            n=len(context.samples) if of_samples else 0,
            reason=next(filter(None, (need.missing(context) for need in needs)), None),
        )
        if result.reason is None:
            _fill(result, definition, context)
        if of_samples:
            result.details |= drawn
        yield definition.key(context), result


def _fill(result: Metric, definition: Definition, context: Context) -> None:
    if "features" in definition.needs:
        result.details |= context.about_features()
    if "reference" in definition.needs:
        result.split = context.settings.reference
    try:
        value = definition.compute(context)
    except ZooError as error:
        result.reason = str(error)
        return
    if not math.isfinite(value.value):
        result.reason = f"The value is {value.value}, not a finite number."
        return
    result.value = value.value
    if value.standard_error is not None and math.isfinite(value.standard_error):
        result.standard_error = value.standard_error
    result.n = result.n if value.n is None else value.n
    result.details |= value.details
    if definition.floor is not None:
        result.details |= _floor(definition, context, result.n)


def _floor(definition: Definition, context: Context, n: int) -> dict[str, Any]:
    """Return the metric's value for real examples in place of the samples, or why it has none, as details."""
    split, draws = str(definition.floor), definition.draws
    if context.extractor is not None and context.extractor.dim > LARGE and "features" in definition.needs:
        draws = max(1, draws // 3)
    if "reference" in definition.needs and context.stand_in:
        few = len(context.splits["test"])
        return {"floor": None, "floor_reason": f"The {few} test images are too few to take samples' place."}
    if "reference" in definition.needs and split in context.settings.reference_splits:
        split = "test"  # the samples are compared with this split, so that others take their place
    try:
        first = context.real(split)
        values = [definition.compute(context.real(split, draw)).value for draw in range(draws)]
        mean, deviation = _mean_and_deviation(values)
        floor = {
            "floor": mean,
            "floor_draws": draws,
            "floor_n": min(n, len(first.samples)),
            "floor_split": split,
        }
        floor |= {} if deviation is None else {"floor_deviation": deviation}
    except ZooError as error:
        return {"floor": None, "floor_reason": str(error)}
    if definition.split_again and context.settings.reference == "test":
        with contextlib.suppress(ZooError):  # too few examples
            again = [definition.compute(context.split_again(draw)).value for draw in range(draws)]
            mean, deviation = _mean_and_deviation(again)
            floor |= {"split_again": mean, "split_again_deviation": deviation}
    return floor


def _mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Return the mean and the standard deviation of draws; None of a single one."""
    draws = torch.tensor(values, dtype=torch.float64)
    return draws.mean().item(), draws.std().item() if len(values) > 1 else None
