"""A GAN's averaged weights, beside its last ones: two read-outs of one training, so seeds are pairs."""

from __future__ import annotations

from zoo.comparison.claims.compare import compare, compare_distance, with_remark
from zoo.comparison.claims.evidence import Evidence, claim
from zoo.comparison.claims.measure import OSCILLATION
from zoo.comparison.claims.sides import at_one_rate_text, trick
from zoo.comparison.studies import Study


@claim("Averaging a GAN's weights improves its samples.", order=90)
def ema(study: Study) -> Evidence:
    names = ("averaged weights", "last weights")
    averaged, last = trick(study, "gan", "training.ema", lambda decay: not decay, names)
    part = compare_distance(study, averaged, last, "lower", by_seed=True)
    yield with_remark(at_one_rate_text(averaged, last), part)
    yield compare(averaged, last, OSCILLATION, "lower", decides=False, by_seed=True)
