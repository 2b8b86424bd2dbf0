"""Likelihood and latency of an autoregressive flow, beside a coupling flow that differs in masking alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zoo.comparison.claims.compare import compare, compare_likelihood
from zoo.comparison.claims.measure import LATENCY
from zoo.comparison.claims.sides import autoregressive_flow, of_family, parallel_flow
from zoo.comparison.claims.verdict import Evidence, Missing, Part, claim
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import PARAMETERS
from zoo.comparison.statistics import LEAST_SEEDS, MARGIN
from zoo.comparison.studies import Study

BINS = "model.bins"  # of a spline, the transformation that flows of either mask share
ALIKE = (BINS, "model.bound", "model.blocks", "model.dropout")  # of the transformation and its conditioner


@claim(
    "An autoregressive flow has the better density, an affine coupling flow the faster samples.", order=120
)
def coupling_autoregressive(study: Study) -> Evidence:
    pairs = masking_pairs(study)
    sizes = [max(a.values(PARAMETERS), default=0) / max(b.values(PARAMETERS), default=1) for a, b in pairs]
    matched = [1 / MARGIN < size < MARGIN for size in sizes]
    if not any(matched):
        yield Missing(
            needs=f"an autoregressive and a coupling flow that differ in masking alone, parameters within a "
            f"factor of {MARGIN:g}, {LEAST_SEEDS} finished seeds each",
            commands=("zoo sweep claims_factorial",),
        )
    for (autoregressive, coupling), size, decides in zip(pairs, sizes, matched, strict=True):
        remark = "" if decides else f" Sizes are not matched: {size:.2f} times the parameters."
        yield _with(remark, compare_likelihood(autoregressive, coupling, "lower", decides))
        yield compare(autoregressive, coupling, LATENCY, "higher", decides)
    affine = autoregressive_flow(study), parallel_flow(study)
    if affine not in pairs:
        yield compare_likelihood(*affine, "lower", decides=False)
        yield compare(*affine, LATENCY, "higher", decides=False)


def masking_pairs(study: Study) -> list[tuple[Group, Group]]:
    """Return the flows of a study that differ in their masking alone, the autoregressive one first.

    They are recognised by their configurations: splines with equal settings of the transformation and its
    conditioner (:data:`ALIKE`), of which the records declare that one samples a dimension after the other,
    the other all at once. Of several with the same settings the first of :func:`of_family` is taken.
    """
    pairs: dict[str, tuple[Group, Group]] = {}
    for autoregressive in of_family(study, "flow", _is_spline, "sequential"):
        for coupling in of_family(study, "flow", _is_spline, "parallel"):
            if _settings(autoregressive) == _settings(coupling):
                pairs.setdefault(_settings(coupling), (autoregressive, coupling))
    return [pairs[settings] for settings in sorted(pairs)]


def _is_spline(settings: Mapping[str, Any]) -> bool:
    return settings.get(BINS) is not None


def _settings(flow: Group) -> str:
    return repr([flow.settings.get(key) for key in ALIKE])


def _with(remark: str, part: Part | Missing) -> Part | Missing:
    return replace(part, sentence=part.sentence + remark) if isinstance(part, Part) else part
