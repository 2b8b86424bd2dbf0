"""Collapse, oscillation and spread of GANs and of flows, each at its own best learning rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import Evidence, Part, claim
from zoo.comparison.claims.instability import after_more_updates, compare_stability
from zoo.comparison.claims.sensitivity import compare_sensitivity, widest
from zoo.comparison.claims.sides import (
    autoregressive_flow,
    has_momentum,
    of_family,
    parallel_flow,
    representative,
)
from zoo.comparison.claims.wording import count_text, p_text
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import (
    GRADIENT_SPIKES,
    LOSS_SPIKES,
    NON_FINITE_STEPS,
    UPDATES_WATCHED,
    Quantity,
)
from zoo.comparison.statistics import LEVEL
from zoo.comparison.studies import Study
from zoo.comparison.tables import number

BARE = "the GAN without its tricks (momentum, no averaged weights, no R1)"
EVENTS = (
    (LOSS_SPIKES, "loss spikes"),
    (GRADIENT_SPIKES, "gradient spikes"),
    (NON_FINITE_STEPS, "steps without a finite loss or gradient"),
)


@claim("GAN training is unstable, flow training is stable.", order=30)
def gan_unstable(study: Study) -> Evidence:
    gan = representative(study, "gan", called="a GAN")
    vae = representative(study, "vae", called="a VAE")
    bare = _bare(study)
    coupling = parallel_flow(study)
    flows = (coupling, autoregressive_flow(study))
    for flow in flows:
        yield compare_stability(study, bare, flow, describe_a=BARE)
    yield compare_stability(study, gan, coupling, decides=False)
    for model in (bare, gan):
        if (longer := after_more_updates(study, model)) is not None:
            yield longer
    for flow in flows:
        yield compare_sensitivity(study, bare, flow, describe_a=BARE, decides=False)
    for model in (gan, vae):
        yield compare_sensitivity(study, model, coupling, decides=False)
    yield from _unfinished(study)
    gans = [*study.baselines("gan"), *[bare] * bool(bare.runs)]
    yield from _events(gans, [group for group in study.baselines() if group.family not in ("gan", "unknown")])


def _bare(study: Study) -> Group:
    """Return the GAN without its tricks: of the first GAN that was run so, at most learning rates."""
    for gan in of_family(study, "gan"):
        if (bare := widest(study, study.of(gan.model, _is_bare))) is not None:
            return bare.named(f"{gan.model} without tricks")
    return Group("", [], "a GAN without tricks")


def _is_bare(settings: dict[str, Any]) -> bool:
    """Return whether a GAN has momentum, and neither averaged weights nor R1."""
    momentum = has_momentum(settings.get("training.betas"))
    return momentum and not settings.get("training.r1") and not settings.get("training.ema")


def _unfinished(study: Study) -> Iterator[Part]:
    """Yield how many runs of GANs and of flows did not finish."""
    gans, flows = (
        [run for group in study.groups if group.family == family for run in group.runs]
        for family in ("gan", "flow")
    )
    if not gans or not flows:
        return
    lost = [sum(run.record.status != "finished" for run in side) for side in (gans, flows)]
    chance = tests.fisher(lost[0], len(gans), lost[1], len(flows))
    yield Part(
        sentence=f"{lost[0]} of {len(gans)} runs of GANs and {lost[1]} of {len(flows)} of flows did not "
        f"finish ({p_text(chance)}).",
        test=f"Fisher's exact test at {LEVEL:.0%}",
        n=count_text(gans, flows),
        runs=gans + flows,
        decides=False,
    )


def _events(gans: Sequence[Group], others: Sequence[Group]) -> Iterator[Part]:
    """Yield how often training spiked or had to skip a step."""
    for event, plural in EVENTS:
        counted = [_counted(side, event) for side in (gans, others)]
        if all(counted):
            rates = [1000 * sum(n for n, _ in side) / sum(updates for _, updates in side) for side in counted]
            yield Part(
                sentence=f"In 1,000 updates {number(rates[0])} {plural} of GANs, {number(rates[1])} of the "
                "others.",
                n=count_text(*counted),
                decides=False,
            )


def _counted(groups: Sequence[Group], event: Quantity) -> list[tuple[float, float]]:
    """Return the number of events and of updates of each run that was watched."""
    runs = [run for group in groups for run in group.runs]
    counts = [(event.of(run.record), UPDATES_WATCHED.of(run.record)) for run in runs]
    return [(events, updates) for events, updates in counts if events is not None and updates]
