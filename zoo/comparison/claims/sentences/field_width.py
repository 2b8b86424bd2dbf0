"""A continuous flow with the narrowest and the widest vector field that a study has."""

from __future__ import annotations

from typing import Any

from zoo.comparison.claims.compare import compare, compare_distance, compare_likelihood
from zoo.comparison.claims.evidence import Evidence, Missing, claim
from zoo.comparison.claims.measure import LATENCY
from zoo.comparison.claims.sides import continuous_flow
from zoo.comparison.configurations import Group, differing
from zoo.comparison.quantities import PARAMETERS
from zoo.comparison.studies import Study


@claim("A continuous flow with a small f is not expressive, one with a large f is slow.", order=150)
def field_width(study: Study) -> Evidence:
    flow = continuous_flow(study)
    widths = _widths(study, flow)
    if len(widths) < 2:
        yield Missing(needs=f"{flow.label} with two widths of its field")
        return
    small, large = widths[0], widths[-1]
    yield compare_likelihood(small, large, "higher")
    yield compare(large, small, LATENCY, "higher")
    yield compare_distance(study, small, large, "higher", decides=False)


def _widths(study: Study, usual: Group) -> list[Group]:
    """Return the configurations of a flow that differ in the field's width alone, the narrowest first."""
    if not usual.runs:
        return []
    setting = "model.channels" if "model.channels" in usual.settings else "model.hidden"
    groups = [group for group in study.of(usual.model) if differing(group, usual) <= {setting}]
    groups.sort(key=lambda group: max(group.values(PARAMETERS), default=0))
    return [group.named(f"width {_width_text(group.settings.get(setting))}") for group in groups]


def _width_text(layers: Any) -> str:
    return "-".join(map(str, layers)) if isinstance(layers, list) else str(layers)
