"""A user's model has the place in every claim that its record declares, whatever its name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from simulated_runs import around, judged, maf, simulate
from simulated_studies import coupling, density_and_speed, rates, restricted, scaling

from zoo.comparison.claims import decide
from zoo.comparison.claims.render import measured_text
from zoo.comparison.claims.sides import autoregressive_flow, parallel_flow, parallel_flows
from zoo.comparison.claims.verdict import REFUTED, SUPPORTED, Part
from zoo.comparison.collect import Run
from zoo.comparison.studies import Study, studies

STUDIES = {
    "autoregressive": scaling(lambda d: d),
    "gan-unstable": rates(1.5, 0.1, oscillation=(0.3, 0.1)),
    "coupling-autoregressive": density_and_speed(1.5, 0.02),
    "restricted-architecture": restricted(),
}


def renamed(runs: list[Run], model: str, name: str) -> list[Run]:
    """Return the runs with a model under another name."""
    runs = copy.deepcopy(runs)
    for run in runs:
        if run.record.model == model:
            run.record.model = name
            run.record.run_id = run.record.run_id.replace(model, name)
    return runs


@pytest.mark.parametrize("name", ["mine", "a_flow", "zz"])
@pytest.mark.parametrize("model", ["maf", "realnvp"])
@pytest.mark.parametrize("study", STUDIES)
def test_a_flow_of_any_name_has_the_place_of_one_that_samples_alike_in_every_claim(study, model, name):
    theirs, ours = decide(renamed(STUDIES[study], model, name)), decide(STUDIES[study])
    assert any(model in part.sentence for decision in ours for part in decision.parts)
    for own, other in zip(ours, theirs, strict=True):
        assert other.verdict == own.verdict
        expected = [part.sentence.replace(model, name) for part in own.parts]
        assert [part.sentence for part in other.parts] == expected


def test_a_flow_that_samples_in_parallel_does_not_take_the_place_of_maf():
    runs = renamed(density_and_speed(1.5, 0.02), "maf", "mine")
    for run in runs:
        run.record.sampling.order = "parallel"
    (decision,) = [d for d in decide(runs) if d.claim.key == "coupling-autoregressive"]
    assert "mine" not in measured_text(decision)


def test_the_autoregressive_flow_with_most_finished_seeds_stands_for_all_whatever_its_name():
    runs = simulate("few", "flow", order="sequential", bits=around(1), seeds=3)
    runs += simulate("many", "flow", order="sequential", bits=around(1), seeds=5)
    runs += simulate("lost", "flow", order="sequential", status="diverged", seeds=9)
    runs += simulate("pixelcnn", "autoregressive", bits=around(1), seeds=9)
    runs += simulate("coupling", "flow", bits=around(1), seeds=9)
    assert autoregressive_flow(only_study(runs + maf(seeds=1))).label == "many"
    assert autoregressive_flow(only_study(runs + maf(seeds=6))).label == "maf"
    assert parallel_flow(only_study(runs)).label == "coupling"


def test_of_flows_with_as_many_seeds_the_one_that_a_study_varies_stands_for_all():
    runs = maf(settings={"training.lr": 0.1})
    assert autoregressive_flow(only_study(runs + sequential("a"))).label == "a"
    for lr in (0.1, 0.2):
        runs += simulate("varied", "flow", order="sequential", settings={"training.lr": lr})
    assert autoregressive_flow(only_study(runs + sequential("a"))).label == "varied"
    assert autoregressive_flow(only_study(runs + sequential("a", seeds=4))).label == "a", "more seeds"


def test_of_parallel_flows_alike_otherwise_the_smallest_stands_for_all():
    small = simulate("z", "flow", parameters=10)
    assert parallel_flow(only_study(simulate("a", "flow", parameters=11) + small)).label == "z"
    assert parallel_flow(only_study(simulate("a", "flow", parameters=10) + small)).label == "a"


def test_the_flow_that_stands_for_the_parallel_ones_is_the_first_of_them():
    runs = [*simulate("b", "flow"), *simulate("c", "flow", seeds=4), *simulate("a", "flow")]
    listed = [flow.label for flow in parallel_flows(only_study(runs + maf(seeds=5)))]
    assert listed == ["c", "a", "b"]


def test_without_a_flow_that_declares_an_order_none_stands_for_it():
    study = only_study(simulate("i_resnet", "flow", order="solver"))
    assert not autoregressive_flow(study).runs
    assert not parallel_flow(study).runs
    assert parallel_flows(study) == []


def likelihood_beside(runs: list[Run]) -> Part:
    """Return the comparison of the likelihoods of the two kinds of flow."""
    return judged("coupling-autoregressive", runs).parts[0]


def test_one_run_of_maf_does_not_displace_a_users_flow_with_five_seeds():
    runs = renamed(density_and_speed(1.5, 0.02, seeds=5), "maf", "mine")
    part = likelihood_beside(runs + maf(bits=9.0, latency=1e-5, seeds=1))
    assert part.verdict == SUPPORTED
    assert "mine" in part.sentence
    assert "maf" not in part.sentence


@pytest.mark.parametrize("name", ["a_flow", "zz"])
@pytest.mark.parametrize("seeds", [2, 7])
def test_a_users_flow_and_maf_may_exchange_their_names(name, seeds):
    """They differ in seeds, density and speed; neither name counts."""
    theirs = sequential(name, bits=around(2.5, 0.01, 3), latency=around(2e-4, salt=4), seeds=seeds)
    runs = density_and_speed(1.5, 0.02, seeds=5) + theirs
    exchanged = renamed(renamed(renamed(runs, "maf", "x"), name, "maf"), "x", name)
    swapped = [decision.verdict for decision in decide(exchanged)]
    assert swapped == [decision.verdict for decision in decide(runs)]
    expected = SUPPORTED if seeds < 5 else REFUTED
    assert likelihood_beside(runs).verdict == likelihood_beside(exchanged).verdict == expected


@pytest.mark.parametrize("name", ["mine", "a_flow", "zz"])
def test_every_flow_that_samples_in_parallel_has_to_be_sharp(name):
    runs = coupling()
    blurred = simulate(
        name, "flow", sharpness=around(0.5, 0.02), spectrum=1.0, distance=10.0, floor=1.0, depth=8
    )
    assert judged("flows-parallel-sharp", runs).verdict == SUPPORTED
    decision = judged("flows-parallel-sharp", runs + blurred)
    assert decision.verdict == REFUTED
    assert f"Sharpness of {name}" in measured_text(decision)
    for run in blurred:
        run.record.sampling.order = "solver"
    assert judged("flows-parallel-sharp", runs + blurred).verdict == SUPPORTED


def sequential(name: str, **numbers: Any) -> list[Run]:
    """Return runs of a user's flow that samples one dimension after the other."""
    return simulate(name, "flow", order="sequential", **numbers)


def only_study(runs: list[Run]) -> Study:
    """Return the study that all the runs belong to."""
    (study,) = studies(runs)
    return study
