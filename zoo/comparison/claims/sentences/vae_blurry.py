"""The sharpness of a VAE's samples, beside real images and beside other families."""

from __future__ import annotations

import statistics

from zoo.comparison.claims.compare import compare
from zoo.comparison.claims.evidence import Evidence, Missing, Part, Variant, Verdict, claim, judge
from zoo.comparison.claims.measure import SHARPNESS, Measure
from zoo.comparison.claims.robustness import Alternative
from zoo.comparison.claims.sharp import TEST, lost_text, sharpness_of, sharpness_panel, sharpness_variants
from zoo.comparison.claims.sides import of_family, parallel_flow, parallel_flows, representative
from zoo.comparison.claims.wording import interval_text, p_text
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import metric_value
from zoo.comparison.statistics import LEAST_SEEDS, Outcome
from zoo.comparison.studies import Study
from zoo.comparison.tables import number

SPECTRUM = "sharpness/spectrum"


@claim("VAEs are blurry.", order=20)
def vae_blurry(study: Study) -> Evidence:
    vae = representative(study, "vae", called="a VAE")
    yield _against_real_images(study, vae)
    for rival in (representative(study, "gan", called="a GAN"), parallel_flow(study)):
        yield compare(vae, rival, SHARPNESS, "lower", alternatives=_by_spectrum(vae, rival))
    for another in parallel_flows(study)[1:2]:
        yield compare(vae, another, SHARPNESS, "lower", decides=False)
    for other in of_family(study, "vae")[1:]:
        if len(SHARPNESS.of(other)) >= LEAST_SEEDS:
            yield _of_another_vae(other)


def _by_spectrum(vae: Group, rival: Group) -> list[Alternative]:
    """Return the spectral sharpness of a VAE and its rival; empty if records lack it."""
    spectrum = Measure(metric_value(SPECTRUM), SPECTRUM)
    values = spectrum.by_seed(vae), spectrum.by_seed(rival)
    return [Alternative(SPECTRUM, *values, "lower")] if min(map(len, values)) >= LEAST_SEEDS else []


def _variants(vae: Group) -> list[Variant]:
    """Return other tests of a VAE's sharpness against real images, among them one of spectral sharpness."""

    def verdict(outcome: Outcome) -> Verdict:
        return judge(outcome, "lower", than=1.0)

    found = sharpness_variants(vae, "sharpness", verdict)
    if len(vae.values(metric_value(SPECTRUM))) >= LEAST_SEEDS:
        outcome = sharpness_of(vae, SPECTRUM)
        found.append(Variant(SPECTRUM, outcome, "lower", verdict=verdict(outcome)))
    return found


def _of_another_vae(vae: Group) -> Part:
    outcome = sharpness_of(vae)
    return Part(
        sentence=f"Samples of {vae.label}: {number(outcome.estimate)} times ({p_text(outcome.p)}).",
        verdict=judge(outcome, "lower", than=1.0),
        test=TEST,
        n=str(len(vae.finished)),
        outcome=outcome,
        runs=vae.finished,
        decides=False,
    )


def _against_real_images(study: Study, vae: Group) -> Part | Missing:
    values = SHARPNESS.of(vae)
    if len(values) < LEAST_SEEDS:
        return Missing(needs=f"sharpness of {vae.label}, {LEAST_SEEDS} finished seeds")
    outcome = sharpness_of(vae)
    return Part(
        sentence=f"Samples of {vae.label} have {number(outcome.estimate)} times the sharpness of real images"
        f"{_blur_text(vae)} ({interval_text(outcome)}).{lost_text(vae)}",
        verdict=judge(outcome, "lower", than=1.0),
        test=TEST,
        n=str(len(values)),
        outcome=outcome,
        p=outcome.p,
        unit="factor",
        variants=lambda: _variants(vae),
        panel=sharpness_panel(study),
        runs=vae.finished,
    )


def _blur_text(vae: Group) -> str:
    """Return how much real images would have to be blurred to be as sharp, if the records have it."""
    metrics = [run.record.metrics.get("sharpness") for run in vae.finished]
    widths = [metric.details.get("blur_sigma") for metric in metrics if metric is not None]
    known = [width for width in widths if isinstance(width, int | float)]
    return f", like real images blurred by {number(statistics.fmean(known))} pixels" if known else ""
