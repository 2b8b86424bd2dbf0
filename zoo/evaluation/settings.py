"""The protocol's settings: the values of ``conf/evaluation/default.yaml``, checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_origin, get_type_hints

from zoo.errors import ZooError, unknown
from zoo.evaluation.features import EXTRACTORS

MACHINE = ("inception_weights", "dinov2_weights")  # where files lie: no part of the protocol

AT_LEAST = {
    "samples": 1,
    "batch_size": 1,
    "dequantisation_samples": 1,
    "pairwise_examples": 2,
    "training_examples": 1,
    "latency_repeats": 1,
    "throughput_repeats": 1,
    "time_limit_seconds": 0,
}


@dataclass(frozen=True)
class Settings:
    """The values of ``conf/evaluation/default.yaml``, which explains them."""

    seed: int = 0
    samples: int = 1000
    pairwise_examples: int = 2000
    training_examples: int = 10_000
    likelihood_examples: int | None = None
    dequantisation_samples: int = 1
    batch_size: int = 256
    latency_repeats: int = 20
    throughput_batches: tuple[int, ...] = (16, 64, 256)
    throughput_repeats: int = 5
    time_limit_seconds: float = 5.0
    extractor: str | None = None
    inception_weights: str | None = None
    dinov2_weights: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from plain values; what is not named keeps its default.

        Raises:
            ZooError: a setting that does not exist, or a value of another kind or out of range; so that it
                is known before training.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise unknown("evaluation setting", str(name), names)
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if isinstance(plain.get("time_limit_seconds"), int):
            plain["time_limit_seconds"] = float(plain["time_limit_seconds"])  # 5 and 5.0 are one protocol
        for name, hint in get_type_hints(cls).items():
            if name in plain and not _is(plain[name], hint):
                kind = str(getattr(hint, "__name__", hint)) if get_origin(hint) is not tuple else "[int, ...]"
                raise ZooError(f"evaluation.{name} is of the kind {kind}; got {values[name]!r}.")
        settings = cls(**plain)
        for name, least in AT_LEAST.items():
            if not least <= getattr(settings, name) < math.inf:
                raise ZooError(
                    f"evaluation.{name} must be at least {least}, and finite; got {getattr(settings, name)}."
                )
        if settings.likelihood_examples is not None and settings.likelihood_examples < 1:
            raise ZooError("evaluation.likelihood_examples must be at least 1, or null for all of the test.")
        if min(settings.throughput_batches, default=0) < 1:
            raise ZooError("evaluation.throughput_batches are batch sizes of at least 1, and at least one.")
        if settings.extractor is not None and settings.extractor not in EXTRACTORS:
            raise unknown("feature extractor", settings.extractor, EXTRACTORS)
        return settings

    def identity(self) -> dict[str, Any]:
        """What names the protocol: every setting save the paths of this machine."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in MACHINE}


def _is(value: Any, hint: Any) -> bool:
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_is(v, int) for v in value)
    return isinstance(value, hint) and not isinstance(value, bool)
