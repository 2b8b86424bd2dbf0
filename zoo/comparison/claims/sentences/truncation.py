"""Precision and recall of a GAN with truncated latents, beside the same GAN without it.

Both are read-outs of one training, so the seeds are pairs.
"""

from __future__ import annotations

from zoo.comparison.claims.compare import compare, compare_distance
from zoo.comparison.claims.measure import metric_of
from zoo.comparison.claims.sides import trick
from zoo.comparison.claims.verdict import Evidence, claim
from zoo.comparison.studies import Study


@claim("Truncating a GAN's latents trades diversity for fidelity.", order=110)
def truncation(study: Study) -> Evidence:
    names = ("truncated", "not truncated")
    truncated, whole = trick(study, "gan", "model.truncation", lambda scale: scale in (None, 1.0), names)
    yield compare(truncated, whole, metric_of(study, "precision"), "higher", by_seed=True)
    yield compare(truncated, whole, metric_of(study, "recall"), "lower", by_seed=True)
    yield compare_distance(study, truncated, whole, "lower", decides=False, by_seed=True)
