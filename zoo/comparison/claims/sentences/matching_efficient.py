"""A continuous flow trained by likelihood and one trained by matching, for equal seconds."""

from __future__ import annotations

import statistics
from typing import Any

from zoo.comparison.claims.compare import compare_likelihood
from zoo.comparison.claims.evidence import Evidence, Missing, Part, claim
from zoo.comparison.claims.sensitivity import widest
from zoo.comparison.claims.sides import is_matched, of_family
from zoo.comparison.claims.wording import count_text
from zoo.comparison.configurations import Group, is_number
from zoo.comparison.quantities import PARAMETERS, UPDATES
from zoo.comparison.statistics import MARGIN
from zoo.comparison.studies import Study
from zoo.comparison.timing import timing

BOTH = "a continuous flow trained by its likelihood and one trained by matching,"
COMMANDS = ("zoo sweep ffjord_vs_matching", "zoo claims ... runs/ffjord_vs_matching")


@claim(
    "Diffusion's training (matching) makes a continuous flow of the same network more efficiently.", order=160
)
def matching_efficient(study: Study) -> Evidence:
    likelihood, matching = _timed(study, matched=False), _timed(study, matched=True)
    if likelihood is None or matching is None:
        yield Missing(needs=f"{BOTH} for equal seconds", commands=COMMANDS)
        return
    if not _alike(likelihood, matching):
        needs = f"{BOTH} with the same field and budget of seconds, on one device"
        yield Missing(needs=needs, commands=COMMANDS)
        return
    yield _spent(likelihood, matching)
    yield compare_likelihood(matching, likelihood, "lower")


def _timed(study: Study, *, matched: bool) -> Group | None:
    """Return the first configuration of continuous flows that was trained for a given number of seconds.

    Args:
        study: the runs.
        matched: whether it was trained by matching, and not by its likelihood.
    """
    flows = [flow for flow in of_family(study, "continuous flow") if is_matched(flow) == matched]
    timed = (widest(study, study.of(flow.model, _has_budget)) for flow in flows)
    return next((group for group in timed if group is not None), None)


def _has_budget(settings: dict[str, Any]) -> bool:
    seconds = settings.get("training.max_seconds")
    return is_number(seconds) and seconds > 0


def _alike(a: Group, b: Group) -> bool:
    """Return whether two groups have the same seconds, the same device and about as many parameters."""
    same_seconds = a.settings["training.max_seconds"] == b.settings["training.max_seconds"]
    same_device = len({timing(run) for group in (a, b) for run in group.finished}) <= 1
    return same_seconds and same_device and 1 / MARGIN < _parameters(a) / max(_parameters(b), 1) < MARGIN


def _spent(likelihood: Group, matching: Group) -> Part:
    """Return how many updates the same seconds were enough for."""
    seconds = likelihood.settings["training.max_seconds"]
    updates = [statistics.fmean(group.values(UPDATES) or [0]) for group in (likelihood, matching)]
    return Part(
        sentence=f"The same field ({_parameters(likelihood):,.0f} and {_parameters(matching):,.0f} "
        f"parameters), {seconds:g} seconds each: {updates[0]:,.0f} updates of {likelihood.label} by "
        f"its likelihood, {updates[1]:,.0f} of {matching.label} by matching.",
        n=count_text(likelihood.runs, matching.runs),
        runs=likelihood.runs + matching.runs,
        decides=False,
    )


def _parameters(group: Group) -> float:
    return max(group.values(PARAMETERS), default=0)
