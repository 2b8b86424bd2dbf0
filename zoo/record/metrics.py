"""A metric of a record: its value, and the details that are needed to read it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from zoo.kinds import Kind
from zoo.record.values import Count, Number, Part, hold_bounds

Direction = Literal["lower", "higher", "one", "none"]


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False, strict=True))
class Calibration(TypedDict):
    """The sharpness of real images under blur, relative to none.

    Attributes:
        sigma: standard deviations of the Gaussian blur, in pixels.
        value: the sharpness at each of them.
    """

    sigma: list[float]
    value: list[float | None]


@with_config(ConfigDict(extra="ignore", allow_inf_nan=False, strict=True))
class KnownDetails(TypedDict, total=False):
    """Keys that mean the same in the ``details`` of every metric. A metric may add keys of its own.

    Attributes:
        remark: a sentence that must be read with the value; tables and ``zoo show`` print it.
        dequantisation: ``uniform`` or ``variational``: the noise that was added to integer data.
        extractor: name of the feature extractor.
        weights_sha256: hash of its weights; only values of one extractor and one hash are compared.
        reference_n: number of real examples that the samples were compared with.
        floor: the metric's value for real examples in the samples' place; None where ``floor_reason`` says
            why there is none.
        floor_n: number of those examples.
        floor_split: their split.
        estimator_deviation_nats: standard deviation of one evaluation of a stochastic log-determinant.
        looser: the less exact setting that an estimate was repeated with.
        looser_change_nats: change of the mean log-likelihood at that setting.
        bias_bound_nats: bound on the bias of a truncated series.
        blur_sigma: Gaussian blur, in pixels, under which real images are as sharp as the samples.
        calibration: sharpness of real images by blur, from which ``blur_sigma`` is read.
        by_test_half: values of a distance against halves of the test images, the same halves for every run.
        by_other_extractor: values of a distance in the features of other extractors, by their names.
    """

    remark: str
    dequantisation: str
    extractor: str
    weights_sha256: str
    reference_n: Count
    floor: float | None
    floor_n: Count
    floor_split: str
    floor_reason: str
    estimator_deviation_nats: float
    looser: str
    looser_change_nats: float
    bias_bound_nats: float
    blur_sigma: float | None
    calibration: Calibration
    by_test_half: list[float]
    by_other_extractor: dict[str, float]


def _hold_known(details: dict[str, Any]) -> dict[str, Any]:
    """Return the details unchanged, with their keys in the same order.

    Raises:
        ValueError: a key of :class:`KnownDetails` has a value of another type, or a number is out of bounds.
    """
    _known_details()(hold_bounds(details))
    return details


@cache
def _known_details() -> Callable[..., Any]:
    """Return the check of :class:`KnownDetails`, without the function of the adapter around it."""
    return TypeAdapter(KnownDetails).validator.validate_python


Details = Annotated[dict[str, Any], AfterValidator(_hold_known)]


@dataclass(slots=True)
class Metric(Part):
    """One measured value with everything needed to read it.

    Attributes:
        value: the number; None where it could not be computed, for the ``reason`` given.
        unit: ``nats``, ``bits/dim``, ``1`` for a plain number, ...
        kind: ``exact``, ``lower bound`` (of the log-likelihood), ``estimate`` or ``none``.
        direction: which value is better: ``lower``, ``higher`` or ``one`` (the nearer to 1); ``none`` for a
            diagnostic, which is never ranked and is not a column of a comparison.
        standard_error: over the ``n`` examples.
        n: number of examples.
        split: the split that the value is about, or the reference split of a metric of samples.
        details: what controls the value; :class:`KnownDetails` names the keys that metrics share.
        reason: why ``value`` is None.
    """

    value: Number | None
    unit: str
    kind: Kind = "estimate"
    direction: Direction = "lower"
    standard_error: Number | None = None
    n: Count = 0
    split: str = "test"
    details: Details = field(default_factory=dict)
    reason: str | None = None
