"""The quantity by which the models of a data set are judged: one rule for helper, page and figures."""

from __future__ import annotations

from zoo.comparison.configurations import Group
from zoo.comparison.quantities import LIKELIHOODS, Quantity
from zoo.comparison.studies import Study
from zoo.record import Record


def _divergence(record: Record) -> float | None:
    """Return KL(data, model) of a record; None without it.

    Old records of a VAE have another number under this name; it has no direction, and does not count.
    """
    metric = record.metrics.get("kl")
    return None if metric is None or metric.direction == "none" else metric.value


KL = Quantity("kl", "nats", "lower", _divergence)


def knows_density(study: Study) -> bool:
    """Return whether the density of the data is known, so that divergences from it were measured."""
    return any(KL.of(run.record) is not None for run in study.runs)


def criterion_of(study: Study) -> Quantity | None:
    """Return the quantity by which a study's models are compared by default; None if no run has one.

    It is the divergence from the density of the data where that is known, else the distance between samples
    and data that most runs have. Divergences are ranked within a kind of likelihood, see :func:`kind_of`.
    """
    return KL if knows_density(study) else study.quality


def kind_of(group: Group, quantity: Quantity) -> str:
    """Return the kind of a configuration's likelihood, within which it is ranked.

    ``mixed`` if its seeds have several; empty for a quantity that is no likelihood.
    """
    kinds = group.kinds(quantity.name) if quantity.name in LIKELIHOODS else set()
    return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else ""


def is_positive(study: Study, quantity: Quantity) -> bool:
    """Return whether a quantity is compared by its logarithm: a distance or time that is always above 0."""
    if quantity.direction != "lower" or quantity.unit in ("nats", "bits/dim"):
        return False
    key = ("is positive", quantity.name)
    if key not in study.memo:
        study.memo[key] = all(v > 0 for group in study.groups for v in group.values(quantity))
    known: bool = study.memo[key]
    return known
