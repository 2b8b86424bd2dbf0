"""``energy_distance``: between samples and test points."""

from __future__ import annotations

from zoo.evaluation import energy
from zoo.evaluation.context import Context, subset
from zoo.evaluation.metrics import Value, metric


@metric("energy_distance", unit="data units", needs=("samples", "points"))
def energy_distance(context: Context) -> Value:
    """How far points lie from the test split (Székely & Rizzo 2013): see :mod:`zoo.evaluation.energy`."""
    limit, seed = context.settings.pairwise_examples, context.settings.seed
    reference, drawn = subset(context.examples("test"), limit, seed), context.samples[:limit]
    value, error = energy.energy_distance(drawn, reference)
    return Value(value, error, n=len(drawn), details={"reference_n": len(reference)})
