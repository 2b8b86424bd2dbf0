"""A user's model has the place in every claim that its record declares, whatever its name."""

from __future__ import annotations

import copy

import pytest
from simulated_runs import around, maf, simulate
from simulated_studies import density_and_speed, rates, restricted, scaling

from zoo.comparison.claims import decide
from zoo.comparison.claims.measure import autoregressive_flow
from zoo.comparison.claims.render import measured_text
from zoo.comparison.collect import Run
from zoo.comparison.studies import studies

STUDIES = {
    "autoregressive": scaling(lambda d: d),
    "gan-unstable": rates(1.5, 0.1, oscillation=(0.3, 0.1)),
    "coupling-autoregressive": density_and_speed(1.5, 0.02),
    "restricted-architecture": restricted(),
}


def renamed(runs: list[Run], name: str) -> list[Run]:
    """Return the runs with MAF's under another name."""
    runs = copy.deepcopy(runs)
    for run in runs:
        if run.record.model == "maf":
            run.record.model = name
            run.record.run_id = run.record.run_id.replace("maf", name)
    return runs


@pytest.mark.parametrize("name", ["mine", "a_flow", "zz"])
@pytest.mark.parametrize("study", STUDIES)
def test_an_autoregressive_flow_of_any_name_has_the_place_of_maf_in_every_claim(study, name):
    theirs, ours = decide(renamed(STUDIES[study], name)), decide(STUDIES[study])
    assert any("maf" in part.sentence for decision in ours for part in decision.parts)
    for our, other in zip(ours, theirs, strict=True):
        assert other.verdict == our.verdict
        expected = [part.sentence.replace("maf", name) for part in our.parts]
        assert [part.sentence for part in other.parts] == expected


def test_a_flow_that_samples_in_parallel_does_not_take_the_place_of_maf():
    runs = renamed(density_and_speed(1.5, 0.02), "mine")
    for run in runs:
        run.record.sampling.order = "parallel"
    (decision,) = [d for d in decide(runs) if d.claim.key == "coupling-autoregressive"]
    assert "mine" not in measured_text(decision)


def test_the_autoregressive_flow_with_most_runs_stands_for_all_if_there_is_no_maf():
    runs = simulate("few", "flow", order="sequential", bits=around(1))
    runs += simulate("many", "flow", order="sequential", bits=around(1), seeds=5)
    runs += simulate("pixelcnn", "autoregressive", bits=around(1), seeds=9)
    runs += simulate("one", "flow", order="sequential", seeds=2)
    assert autoregressive_flow(studies(runs)[0]).label == "many"
    assert autoregressive_flow(studies(runs + maf(seeds=1))[0]).label == "maf"
    assert autoregressive_flow(studies(runs[-2:])[0]).runs == [], "two seeds are too few for a test"
