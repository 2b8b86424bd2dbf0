"""Facts about the metrics of a run: kinds of likelihood, shared errors, and the distance to the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.record import Metric

OWN_SAMPLES = 5  # version of the protocol since which every training seed has samples of its own


def kind_of(metric: Metric) -> str:
    """Return the kind of a likelihood; only likelihoods of one kind are ranked together.

    ``exact`` of a flow on dequantised data is a separate kind, ``exact†``.
    """
    if metric.kind == "exact" and metric.details.get("dequantisation") == "uniform":
        return "exact†"
    return metric.kind


def shared_error(run: Run, name: str) -> float:
    """Return the part of a metric's standard error that the spread over training seeds leaves out.

    Before version 5 of the protocol all seeds of a study were judged with the same latents: their samples
    correlate by up to 0.95, so the error of their draw, which is the metric's standard error, is common to
    them. 0 for a metric of other things than samples, and since then.
    """
    protocol, metric = run.record.provenance.protocol, run.record.metrics.get(name)
    if metric is None or "reference_n" not in metric.details:
        return 0.0
    own_samples = protocol is not None and protocol.version >= OWN_SAMPLES
    return 0.0 if own_samples else metric.standard_error or 0.0


def divergence_of(run: Run) -> float | None:
    """Return the divergence from the data's density in nats, where that density is known.

    The metric ``kl`` without a direction is something else: the rate of a VAE, in old records.
    """
    kl = run.record.metrics.get("kl")
    return None if kl is None or kl.direction == "none" else kl.value


def quality_metric(runs: Sequence[Run]) -> str | None:
    """Return the name of the distance between samples and data that most runs have."""
    counts = Counter(
        name for run in runs for name, metric in run.record.metrics.items() if metric.value is not None
    )
    distances = [
        name for name in counts if name.startswith(("fd/", "fid/")) or name in ("fid", "energy_distance")
    ]
    return max(distances, key=lambda name: (counts[name], name), default=None)
