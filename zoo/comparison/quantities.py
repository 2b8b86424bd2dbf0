"""Numbers of a record that can be compared: how each is read, its unit, and which direction is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from zoo.record import Direction, Record


@dataclass(frozen=True)
class Quantity:
    """A number of a record.

    Attributes:
        name: as tables and sentences write it.
        unit: ``s``, ``nats``, ... ; ``1`` for a plain number.
        direction: the better direction, as in :class:`~zoo.record.Metric`; ``none`` if neither is better.
        read: function that returns the number of a record, or None if the record has none.
    """

    name: str
    unit: str
    direction: Direction
    read: Callable[[Record], float | None] = field(compare=False, repr=False)

    def of(self, record: Record) -> float | None:
        """Return the number of ``record``, or None if it has none."""
        value = self.read(record)
        return None if value is None else float(value)


MEGABYTE = 1e6  # bytes
LIKELIHOODS = ("bits_per_dim", "nll", "kl")  # metrics that are ranked within a kind


def metric_value(name: str, unit: str = "1", direction: Direction = "lower") -> Quantity:
    """Return the value of a metric as a quantity."""
    return Quantity(name, unit, direction, lambda r: r.metrics[name].value if name in r.metrics else None)


def oscillation_of(curve: str) -> Quantity:
    """Return the oscillation of a logged curve over the last third of training."""
    return Quantity(f"oscillation of {curve}", "1", "lower", lambda r: r.stability.oscillations.get(curve))


LATENCY = Quantity("latency", "s", "lower", lambda r: r.sampling.latency_seconds)
THROUGHPUT = Quantity("throughput", "1/s", "higher", lambda r: r.sampling.throughput)
SEQUENTIAL_EVALUATIONS = Quantity(
    "sequential evaluations", "1", "lower", lambda r: r.sampling.sequential_evaluations
)
PARAMETERS = Quantity("parameters", "1", "none", lambda r: r.cost.parameters)
UPDATES = Quantity("updates", "1", "none", lambda r: r.cost.updates)
IMAGES_SEEN = Quantity("images seen", "1", "none", lambda r: r.cost.images_seen)
TRAIN_SECONDS = Quantity("training time", "s", "none", lambda r: r.cost.train_seconds)

BITS_PER_DIM = metric_value("bits_per_dim", "bits/dim")
NLL = metric_value("nll", "nats")
SHARPNESS = metric_value("sharpness", direction="one")

LOSS_SPIKES = Quantity("loss spikes", "1", "lower", lambda r: r.stability.loss_spikes)
GRADIENT_SPIKES = Quantity("gradient spikes", "1", "lower", lambda r: r.stability.gradient_spikes)
NON_FINITE_STEPS = Quantity("skipped steps", "1", "lower", lambda r: r.stability.non_finite_steps)
UPDATES_WATCHED = Quantity("updates watched", "1", "none", lambda r: r.stability.updates_watched)
OSCILLATION = Quantity("oscillation", "1", "lower", lambda r: r.stability.oscillation)
