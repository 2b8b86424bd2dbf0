"""The ledger of claims and the calibration of sharpness, as the page draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.comparison.claims.decision import Decision, margins
from zoo.comparison.claims.evidence import Part
from zoo.comparison.claims.render import (
    badge,
    cautions,
    evidence_text,
    finding_text,
    missing_beside_text,
    missing_text,
    part_effect_text,
)
from zoo.comparison.page.shorten import rounded, row_id, study_id
from zoo.comparison.studies import Study

Json = dict[str, Any]
SHARPNESS = "sharpness"


def ledger(decisions: Sequence[Decision], studies: Sequence[Study]) -> list[Json]:
    """Return every claim that something was measured for, with the rows that its runs are in."""
    places = {
        run.record.run_id: (study_id(study), row_id(group))
        for study in studies
        for group in study.groups
        for run in group.runs
    }
    return [_claim(decision, places) for decision in decisions if decision.deciding]


def _claim(decision: Decision, places: dict[str, tuple[str, str]]) -> Json:
    where = [places[run.record.run_id] for run in decision.runs if run.record.run_id in places]
    study = where[0][0] if where else ""
    return {
        "key": decision.claim.key,
        "of_all": decision.claim.scope == "all runs",
        "sentence": decision.claim.sentence,
        "verdict": decision.verdict,
        "badge": badge(decision),
        "limits": _limits(decision),
        "finding": finding_text(decision),
        "n": "; ".join(dict.fromkeys(part.n for part in decision.deciding)),
        "shown": next((i for i, part in enumerate(decision.parts) if part is decision.part_of_p), None),
        "data": decision.data,
        "study": study,
        "rows": list(dict.fromkeys(row for one, row in where if one == study)),
        "parts": [_part(part, margins(decision.rule)) for part in decision.parts],
        "missing": [
            *filter(None, [evidence_text(decision)]),
            *missing_text(decision),
            *missing_beside_text(decision),
        ],
    }


def _limits(decision: Decision) -> list[str]:
    """Return what a reader has to know with the verdict, each in a few words."""
    kept = decision.robustness
    return [*cautions(decision), *([] if kept is None else [f"kept by {kept:.0%}"])]


def _part(part: Part, within: Mapping[str, float]) -> Json:
    return {
        "sentence": part.sentence,
        "verdict": part.verdict,
        "decides": part.decides,
        "test": part.test,
        "n": part.n,
        "effect": drawn_effect(part, within.get(part.unit)),
        "words": part_effect_text(part),
    }


def drawn_effect(part: Part, margin: float | None) -> Json | None:
    """Return what is drawn of a test: its estimate, its interval, and the zone that counts as no effect.

    The zone is the one that the claim's own test names, else the margin of the rule. A part that says in a
    few words what was found, since its effect is one of several, has no drawing.
    """
    outcome = part.outcome
    if outcome is None or part.brief or not math.isfinite(outcome.estimate):
        return None
    if outcome.factor and outcome.estimate <= 0:
        return None
    zone = part.within
    if zone is None and margin:
        zone = (1 / margin, margin) if outcome.factor else (-margin, margin)
    return {
        "estimate": rounded(outcome.estimate),
        "low": rounded(outcome.low),
        "high": rounded(outcome.high),
        "ratio": outcome.factor,
        "zone": [rounded(end) for end in zone] if zone else None,
    }


def sharpness(study: Study) -> Json | None:
    """Return sharpness by blur of real images, and the blur that each row's samples look like, by seed."""
    metrics = [run.record.metrics.get(SHARPNESS) for run in study.runs]
    curves = (metric.details.get("calibration") for metric in metrics if metric is not None)
    curve = next((curve for curve in curves if isinstance(curve, dict)), None)
    if curve is None or not {"sigma", "value"} <= curve.keys():
        return None
    details = [
        [m.details for run in group.finished if (m := run.record.metrics.get(SHARPNESS)) is not None]
        for group in study.ordered
    ]
    return {
        "sigma": curve["sigma"],
        "value": [rounded(value) for value in curve["value"]],
        "unseen": next((d["unseen_blur"] for row in details for d in row if "unseen_blur" in d), None),
        "blur": [[rounded(d["blur_sigma"]) for d in row if "blur_sigma" in d] for row in details],
    }
