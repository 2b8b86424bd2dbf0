"""The distance of a WGAN with clipped weights, beside a GAN's."""

from __future__ import annotations

import statistics

from zoo.comparison.claims.compare import compare_tuned
from zoo.comparison.claims.evidence import Evidence, Missing, Part, claim
from zoo.comparison.claims.sides import at_best_rates, is_clipped_wgan, is_wasserstein, representative
from zoo.comparison.claims.wording import count_text
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import IMAGES_SEEN, UPDATES
from zoo.comparison.studies import Study


@claim("The WGAN's empirical results are not very good.", order=50)
def wgan(study: Study) -> Evidence:
    clipped = representative(study, "gan", is_clipped_wgan, called="a WGAN with clipped weights")
    gan = representative(study, "gan", lambda settings: not is_wasserstein(settings), called="a GAN")
    tuned = at_best_rates(study, clipped, gan)
    yield compare_tuned(study, tuned, "higher")
    yield _spent(tuned.a, tuned.b)


def _spent(a: Group, b: Group) -> Part | Missing:
    """Return what two trainings cost."""
    if not a.finished or not b.finished:
        return Missing(needs="runs of both", decides=False)
    costs = [
        f"{group.label} {statistics.fmean(updates):,.0f} updates and {statistics.fmean(images):,.0f} "
        "real images"
        for group in (a, b)
        if (updates := group.values(UPDATES)) and (images := group.values(IMAGES_SEEN))
    ]
    return Part(
        sentence=f"Spent: {', '.join(costs)}.",
        n=count_text(a.runs, b.runs),
        runs=a.finished + b.finished,
        decides=False,
    )
