"""Precision and recall of a GAN with truncated latents, beside the same GAN without it.

Both are read-outs of one training, so the seeds are pairs.
"""

from __future__ import annotations

from zoo.comparison.claims.compare import compare, compare_distance, with_remark
from zoo.comparison.claims.evidence import Direction, Evidence, claim
from zoo.comparison.claims.measure import metric_of
from zoo.comparison.claims.robustness import Alternative
from zoo.comparison.claims.sides import at_one_rate_text, trick
from zoo.comparison.statistics import LEAST_SEEDS
from zoo.comparison.studies import Study

# The measure that decides, another measure of the same property, and the direction claimed for both.
MEASURED: tuple[tuple[str, str, Direction], ...] = (
    ("precision", "density", "higher"),
    ("recall", "coverage", "lower"),
)
OTHER_MEASURES = "density and coverage"


@claim("Truncating a GAN's latents trades diversity for fidelity.", order=110)
def truncation(study: Study) -> Evidence:
    names = ("truncated", "not truncated")
    truncated, whole = trick(study, "gan", "model.truncation", lambda scale: scale in (None, 1.0), names)
    remark = at_one_rate_text(truncated, whole)
    for name, other, claimed in MEASURED:
        alike = metric_of(study, other)
        values = alike.by_seed(truncated), alike.by_seed(whole)
        others = (
            [Alternative(OTHER_MEASURES, *values, claimed)] if min(map(len, values)) >= LEAST_SEEDS else []
        )
        measure = metric_of(study, name)
        part = compare(truncated, whole, measure, claimed, by_seed=True, alternatives=others)
        yield with_remark(remark, part)
    yield compare_distance(study, truncated, whole, "lower", decides=False, by_seed=True)
