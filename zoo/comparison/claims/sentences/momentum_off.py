"""A GAN whose optimiser has no momentum, beside the same GAN with some."""

from __future__ import annotations

from zoo.comparison.claims.compare import compare, compare_tuned
from zoo.comparison.claims.evidence import Evidence, claim
from zoo.comparison.claims.factorial import MOMENTUM_OFF, over_the_others
from zoo.comparison.claims.measure import OSCILLATION
from zoo.comparison.claims.sides import at_best_rates, has_momentum, trick
from zoo.comparison.studies import Study


@claim("A GAN trains better with momentum off.", order=80)
def momentum_off(study: Study) -> Evidence:
    names = ("beta1 = 0", "beta1 = 0.5")
    tuned = at_best_rates(study, *trick(study, "gan", "training.betas", has_momentum, names))
    yield compare_tuned(study, tuned, "lower")
    yield compare(tuned.a, tuned.b, OSCILLATION, "lower", decides=False)
    yield from over_the_others(study, MOMENTUM_OFF)
