"""Likelihood and latency of an autoregressive flow, beside a coupling flow that differs in masking alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from zoo.comparison.claims.compare import compare, compare_likelihood
from zoo.comparison.claims.evidence import Evidence, Missing, Part, claim
from zoo.comparison.claims.measure import LATENCY
from zoo.comparison.claims.sides import autoregressive_flow, of_family, parallel_flow
from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group, is_number
from zoo.comparison.quantities import PARAMETERS
from zoo.comparison.statistics import LEAST_SEEDS, MARGIN
from zoo.comparison.studies import Study

UPDATES = "training.updates"
BINS = "model.bins"  # of a spline, the transformation that flows of either mask share
ALIKE = (BINS, "model.bound", "model.steps", "model.blocks", "model.dropout")  # of the transformation


@claim(
    "An autoregressive flow has the better density, an affine coupling flow the faster samples.", order=120
)
def coupling_autoregressive(study: Study) -> Evidence:
    pairs = masking_pairs(study)
    if not any(map(_is_matched, pairs)):
        yield Missing(
            needs="an autoregressive and a coupling flow that differ in masking alone, on vectors, "
            f"parameters within a factor of {MARGIN:g}, {LEAST_SEEDS} finished seeds each",
            commands=("zoo sweep claims_factorial",),
        )
    for pair in pairs:
        (autoregressive, coupling), decides = pair, _is_matched(pair)
        remark = "" if decides else f" Sizes are not matched: {_size(pair):.2f} times the parameters."
        yield _with(remark, compare_likelihood(autoregressive, coupling, "lower", decides))
        yield compare(autoregressive, coupling, LATENCY, "higher", decides)
    affine = autoregressive_flow(study), parallel_flow(study)
    if affine not in pairs:
        yield compare_likelihood(*affine, "lower", decides=False)
        yield compare(*affine, LATENCY, "higher", decides=False)


def masking_pairs(study: Study) -> list[tuple[Group, Group]]:
    """Return the flows of a study that differ in their masking alone, the autoregressive one first.

    They are recognised by their configurations: splines with equal settings of the transformation and its
    conditioner (:data:`ALIKE`), trained for equally many updates, of which the records declare that one
    samples a dimension after the other, the other all at once. Of several pairs with the same settings the
    one of matched size is taken, then that of most updates, then the first by :func:`of_family`. The data
    have to be vectors: on images a coupling flow has convolutions, an autoregressive one has none.
    """
    if any(len(shape) > 1 for shape in map(_shape, study.runs)):
        return []
    autoregressive, coupling = (
        [group for flow in of_family(study, "flow", _is_spline, order) for group in _with_seeds(study, flow)]
        for order in ("sequential", "parallel")
    )
    pairs = [(a, b) for a in autoregressive for b in coupling if _settings(a) == _settings(b)]
    pairs = [(a, b) for a, b in pairs if a.settings.get(UPDATES) == b.settings.get(UPDATES)]
    pairs.sort(key=lambda pair: (not _is_matched(pair), -_updates(pair[0])))
    first = {_settings(pair[0]): pair for pair in reversed(pairs)}
    return [first[settings] for settings in sorted(first)]


def _shape(run: Run) -> Sequence[int]:
    """Return the shape of an example; empty if the run ended before it was known."""
    data = run.record.provenance.data
    return (data.shape if data is not None else None) or ()


def _with_seeds(study: Study, flow: Group) -> list[Group]:
    """Return a baseline and the other configurations of its model that have enough seeds."""
    others = [group for group in study.of(flow.model, _is_spline) if group.runs != flow.runs]
    return [flow, *[group for group in others if len(group.runs) >= LEAST_SEEDS]]


def _size(pair: tuple[Group, Group]) -> float:
    """Return the parameters of a pair's first flow as a multiple of its second one's."""
    a, b = pair
    return max(a.values(PARAMETERS), default=0) / max(b.values(PARAMETERS), default=1)


def _is_matched(pair: tuple[Group, Group]) -> bool:
    """Whether a pair's numbers of parameters are within the margin of each other."""
    return 1 / MARGIN < _size(pair) < MARGIN


def _updates(flow: Group) -> float:
    updates = flow.settings.get(UPDATES)
    return updates if is_number(updates) else 0


def _is_spline(settings: Mapping[str, Any]) -> bool:
    return settings.get(BINS) is not None


def _settings(flow: Group) -> str:
    """Return the settings of a flow's transformation as text; those of two flows of one pair are equal."""
    return repr([flow.settings.get(key) for key in ALIKE])


def _with(remark: str, part: Part | Missing) -> Part | Missing:
    return replace(part, sentence=part.sentence + remark) if isinstance(part, Part) else part
