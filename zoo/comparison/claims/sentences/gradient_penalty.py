"""A WGAN with a gradient penalty, beside one with clipped weights."""

from __future__ import annotations

from zoo.comparison.claims.compare import compare, compare_tuned
from zoo.comparison.claims.evidence import Evidence, claim
from zoo.comparison.claims.measure import SHARPNESS
from zoo.comparison.claims.sides import at_best_rates, is_clipped_wgan, is_penalised_wgan, representative
from zoo.comparison.studies import Study


@claim("A gradient penalty mends what clipping the WGAN's weights breaks.", order=60)
def gradient_penalty(study: Study) -> Evidence:
    penalised = representative(study, "gan", is_penalised_wgan, called="a WGAN with a gradient penalty")
    clipped = representative(study, "gan", is_clipped_wgan, called="a WGAN with clipped weights")
    tuned = at_best_rates(study, penalised, clipped)
    yield compare_tuned(study, tuned, "lower")
    yield compare(tuned.a, tuned.b, SHARPNESS, "higher", decides=False)
