"""How the cost of one sample grows with the dimensions of the data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.comparison import statistics as tests
from zoo.comparison.claims.measure import LATENCY, Measure
from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.datasets import dimensions
from zoo.comparison.statistics import Outcome
from zoo.comparison.timing import timing, usual_timing
from zoo.record import SamplingOrder

LEAST_SIZES = 3  # numbers of dimensions of a power law
FLAT = 0.1  # a cost that grows more slowly than D to this power is called constant
TEST = "slope of log against log by least squares, its 95 % interval"
TEST_OF_DEPTH = (
    f"{TEST}, at least {LEAST_SIZES} sizes a model; depth grows: interval above {FLAT}; is constant: "
    f"within ±{FLAT}"
)


@dataclass(frozen=True)
class Scaling:
    """A power law, cost = D^exponent, of one model.

    Attributes:
        sizes: the numbers of dimensions D, ascending.
        costs: the mean cost at each.
        exponent: the slope of log cost against log D.
        order: the order of sampling that the records declare.
        runs: the runs behind it.
    """

    model: str
    family: str
    sizes: list[float]
    costs: list[float]
    exponent: Outcome
    order: SamplingOrder | None
    runs: list[Run]

    @property
    def sequential(self) -> bool:
        """Whether the model samples one dimension after the other."""
        return self.order == "sequential"

    @property
    def one_pass(self) -> bool:
        """Whether the model samples all dimensions at once."""
        return self.order == "parallel"

    @property
    def solver(self) -> bool:
        """Whether the model samples by an iterative solver."""
        return self.order == "solver"

    @property
    def grows(self) -> bool:
        """Whether the whole interval of the exponent lies above :data:`FLAT`."""
        return self.exponent.low > FLAT

    @property
    def does_not_grow(self) -> bool:
        """Whether the whole interval of the exponent lies below :data:`FLAT`."""
        return self.exponent.high < FLAT

    @property
    def constant(self) -> bool:
        """Whether the whole interval of the exponent lies within ±:data:`FLAT`."""
        return abs(self.exponent.low) < FLAT and abs(self.exponent.high) < FLAT

    @property
    def colour(self) -> str:
        """The family whose colour the model has in the figure; a sequential flow counts as autoregressive."""
        return "autoregressive" if self.sequential else self.family

    def __str__(self) -> str:
        e = self.exponent
        spread = "exactly" if e.high - e.low < 1e-9 else f"[{e.low:.2f}, {e.high:.2f}]"
        return f"D^{e.estimate:.2f} {spread} ({self.model})"


def scalings(runs: Sequence[Run], measure: Measure) -> list[Scaling]:
    """Return the power law of each model that was run at three or more sizes, the rest being equal.

    If several configurations of a model were, the one at most sizes counts.
    """
    if measure is LATENCY:
        usual = usual_timing([Group("", list(runs))])
        runs = [run for run in runs if usual == timing(run)]
    alike: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if dimensions(run) and run.record.status == "finished" and _cost(run, measure) > 0:
            alike.setdefault(_all_but_size(run), []).append(run)
    best: dict[str, Scaling] = {}
    for same in alike.values():
        scaling = _scaling(same, measure)
        known = best.get(scaling.model) if scaling else None
        if scaling and (known is None or len(scaling.sizes) > len(known.sizes)):
            best[scaling.model] = scaling
    return list(best.values())


def powers_text(scalings: Sequence[Scaling]) -> str:
    """Return the power laws as a sentence lists them."""
    return ", ".join(map(str, scalings))


def range_text(scalings: Sequence[Scaling]) -> str:
    """Return the least and the largest power of the power laws, or the one that all have."""
    powers = sorted(scaling.exponent.estimate for scaling in scalings)
    return " to ".join(dict.fromkeys(f"D^{power:.2f}" for power in (powers[0], powers[-1])))


def sizes_text(scalings: Sequence[Scaling]) -> str:
    """Return how many models were run, and at which sizes."""
    return f"{len(scalings)} models at {', '.join(f'{size:.0f}' for size in scalings[0].sizes)} dimensions"


def _scaling(runs: list[Run], measure: Measure) -> Scaling | None:
    """Return the power law of runs that differ in the size of the data alone; None for fewer than 3 sizes."""
    by_size: dict[float, list[float]] = {}
    for run in runs:
        by_size.setdefault(float(dimensions(run)), []).append(_cost(run, measure))
    if len(by_size) < LEAST_SIZES:
        return None
    sizes = sorted(by_size)
    costs = [statistics.fmean(by_size[size]) for size in sizes]
    exponent = tests.slope([math.log(size) for size in sizes], [math.log(cost) for cost in costs])
    first = runs[0].record
    return Scaling(first.model, first.family, sizes, costs, exponent, first.sampling.order, runs)


def _cost(run: Run, measure: Measure) -> float:
    return (measure.quantity.of(run.record) if measure.quantity else None) or 0.0


def _all_but_size(run: Run) -> tuple[str, ...]:
    """Return the configuration and the protocol of a run without the size of its data."""
    source = run.record.provenance
    data: Any = source.config.get("data")
    if isinstance(data, dict):
        data = {k: v for k, v in data.items() if k not in ("side", "size", "name")}
    rest = {k: source.config.get(k) for k in ("model", "training", "trainer")}
    return run.record.model, str(data), str(rest), str(source.protocol_hash)
