"""A GAN whose critic sees augmented images alone, beside the same GAN without augmentation."""

from __future__ import annotations

from zoo.comparison.claims.compare import compare, compare_tuned
from zoo.comparison.claims.evidence import Evidence, claim
from zoo.comparison.claims.factorial import AUGMENTATION, over_the_others
from zoo.comparison.claims.measure import metric_of
from zoo.comparison.claims.sides import at_best_rates, trick
from zoo.comparison.studies import Study


@claim("Augmentation for the critic helps a GAN where data are few.", order=100)
def augmentation(study: Study) -> Evidence:
    names = ("augmented", "not augmented")
    sides = trick(study, "gan", "training.augment", lambda operations: not operations, names)
    tuned = at_best_rates(study, *sides)
    yield compare_tuned(study, tuned, "lower")
    yield compare(tuned.a, tuned.b, metric_of(study, "memorisation"), "lower", decides=False)
    yield from over_the_others(study, AUGMENTATION)
