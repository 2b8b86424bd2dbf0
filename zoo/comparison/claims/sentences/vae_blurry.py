"""The sharpness of a VAE's samples, beside real images and beside other families."""

from __future__ import annotations

import statistics

from zoo.comparison.claims.compare import compare
from zoo.comparison.claims.measure import SHARPNESS
from zoo.comparison.claims.sharp import TEST, sharpness_of, sharpness_panel
from zoo.comparison.claims.sides import baseline, parallel_flow, parallel_flows
from zoo.comparison.claims.verdict import Evidence, Missing, Part, claim, judge
from zoo.comparison.claims.wording import interval_text, p_text
from zoo.comparison.configurations import Group
from zoo.comparison.statistics import LEAST_SEEDS
from zoo.comparison.studies import Study
from zoo.comparison.tables import number


@claim("VAEs are blurry.", order=20)
def vae_blurry(study: Study) -> Evidence:
    vae = baseline(study, "vae")
    yield _against_real_images(study, vae)
    for rival in (baseline(study, "gan"), parallel_flow(study)):
        yield compare(vae, rival, SHARPNESS, "lower")
    for another in parallel_flows(study)[1:2]:
        yield compare(vae, another, SHARPNESS, "lower", decides=False)
    hierarchical = baseline(study, "vae_hierarchical")
    values = SHARPNESS.of(hierarchical)
    if len(values) >= LEAST_SEEDS:
        outcome = sharpness_of(hierarchical)
        yield Part(
            sentence=f"The hierarchical VAE's samples: {number(outcome.estimate)} times "
            f"({p_text(outcome.p)}).",
            verdict=judge(outcome, "lower", than=1.0),
            test=TEST,
            n=str(len(hierarchical.finished)),
            outcome=outcome,
            runs=hierarchical.finished,
            decides=False,
        )


def _against_real_images(study: Study, vae: Group) -> Part | Missing:
    values = SHARPNESS.of(vae)
    if len(values) < LEAST_SEEDS:
        return Missing(needs=f"sharpness of vae, {LEAST_SEEDS} finished seeds")
    outcome = sharpness_of(vae)
    return Part(
        sentence=f"The VAE's samples have {number(outcome.estimate)} times the sharpness of real images"
        f"{_blur_text(vae)} ({interval_text(outcome)}).",
        verdict=judge(outcome, "lower", than=1.0),
        test=TEST,
        n=str(len(values)),
        outcome=outcome,
        p=outcome.p,
        unit="factor",
        panel=sharpness_panel(study),
        runs=vae.finished,
    )


def _blur_text(vae: Group) -> str:
    """Return how much real images would have to be blurred to be as sharp, if the records say so."""
    metrics = [run.record.metrics.get("sharpness") for run in vae.finished]
    widths = [metric.details.get("blur_sigma") for metric in metrics if metric is not None]
    known = [width for width in widths if isinstance(width, int | float)]
    return f", like real images blurred by {number(statistics.fmean(known))} pixels" if known else ""
