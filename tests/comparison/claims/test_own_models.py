"""A user's model has the place in every claim that its record declares, whatever its name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from simulated_runs import around, gan, judged, maf, simulate
from simulated_studies import (
    blur,
    coupling,
    critics,
    density_and_speed,
    masks,
    matched,
    rates,
    restricted,
    scaling,
    widths,
)

from zoo.comparison.claims import decide
from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, Part
from zoo.comparison.claims.render import measured_text
from zoo.comparison.claims.sides import (
    autoregressive_flow,
    of_family,
    parallel_flow,
    parallel_flows,
    representative,
)
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
def test_the_name_of_a_flow_changes_no_claim(study, model, name):
    theirs, ours = decide(renamed(STUDIES[study], model, name)), decide(STUDIES[study])
    assert any(model in part.sentence for decision in ours for part in decision.parts)
    for own, other in zip(ours, theirs, strict=True):
        assert other.verdict == own.verdict
        expected = [part.sentence.replace(model, name) for part in own.parts]
        assert [part.sentence for part in other.parts] == expected


TRUNCATED = gan({"model.truncation": 0.7}, precision=around(0.9, 0.01), recall=around(0.5, 0.01))
WHOLE = gan(precision=around(0.7, 0.01, 1), recall=around(0.7, 0.01, 1))
SMALL = simulate("ffjord", "continuous flow", distance=around(2), parameters=100)
OF_FAMILIES = [  # a claim, the runs that decide it, and a model that stands for its family
    ("vae-blurry", blur(0.4), "vae"),
    ("vae-blurry", blur(0.4), "gan"),
    ("gan-unstable", rates(1.5, 0.1, oscillation=(0.3, 0.1)), "gan"),
    ("wgan", critics(9, 4), "wgan"),
    ("wgan", critics(9, 4), "gan"),
    ("gradient-penalty", critics(9, 4), "wgan_gp"),
    ("spectral-norm", critics(9, 4), "gan"),
    ("truncation", TRUNCATED + WHOLE, "gan"),
    ("discrete-continuous", SMALL + simulate("realnvp", "flow", distance=5, parameters=200), "ffjord"),
    ("coupling-autoregressive", masks(1.5, 0.02), "nsf_autoregressive"),
    ("coupling-autoregressive", masks(1.5, 0.02), "nsf_coupling"),
    ("restricted-architecture", restricted(), "ffjord"),
    ("restricted-architecture", restricted(), "residual_flow"),
    ("field-width", widths(3, 0.1), "ffjord"),
    ("matching-efficient", matched(2), "ffjord"),
    ("matching-efficient", matched(2), "flow_matching"),
]


@pytest.mark.parametrize("name", ["mine", "zz"])
@pytest.mark.parametrize(
    ("key", "runs", "model"), OF_FAMILIES, ids=[f"{key}-{model}" for key, _, model in OF_FAMILIES]
)
def test_a_users_model_of_any_name_decides_the_claims_about_its_family(key, runs, model, name):
    ours, theirs = judged(key, runs), judged(key, renamed(runs, model, name))
    assert ours.verdict == theirs.verdict == SUPPORTED
    parts = [part.sentence.replace(f"{model} ", f"{name} ") for part in ours.parts if part.decides]
    assert [part.sentence.replace(f"{model} ", f"{name} ") for part in theirs.parts if part.decides] == parts


def test_a_users_training_by_matching_decides_if_its_record_declares_the_objective():
    runs = copy.deepcopy(matched(2))
    for run in runs:
        by_matching = run.record.model == "flow_matching"
        run.record.provenance.objective = "matching" if by_matching else "likelihood"
        run.record.provenance.config["training"]["_target_"] = "my_flow.Rectified"
    assert judged("matching-efficient", runs).verdict == SUPPORTED


def test_the_model_of_a_family_with_most_seeds_stands_for_it():
    runs = [*simulate("vae", "vae", seeds=3), *simulate("mine", "vae", seeds=5)]
    assert [vae.model for vae in of_family(only_study(runs), "vae")] == ["mine", "vae"]
    assert representative(only_study(runs), "gan", called="a GAN").label == "a GAN"


def test_a_gan_that_has_the_trick_decides_where_the_first_one_has_not():
    runs = simulate("first", "gan", seeds=5, distance=around(3)) + renamed(critics(9, 4)[:6], "gan", "mine")
    assert judged("spectral-norm", runs).verdict == SUPPORTED


def test_a_flow_that_samples_in_parallel_does_not_take_the_place_of_maf():
    runs = renamed(density_and_speed(1.5, 0.02), "maf", "mine")
    for run in runs:
        run.record.sampling.order = "parallel"
    (decision,) = [d for d in decide(runs) if d.claim.key == "coupling-autoregressive"]
    assert "mine" not in measured_text(decision)


def test_the_autoregressive_flow_with_most_finished_seeds_represents_all():
    runs = simulate("few", "flow", order="sequential", bits=around(1), seeds=3)
    runs += simulate("many", "flow", order="sequential", bits=around(1), seeds=5)
    runs += simulate("lost", "flow", order="sequential", status="diverged", seeds=9)
    runs += simulate("pixelcnn", "autoregressive", bits=around(1), seeds=9)
    runs += simulate("coupling", "flow", bits=around(1), seeds=9)
    assert autoregressive_flow(only_study(runs + maf(seeds=1))).label == "many"
    assert autoregressive_flow(only_study(runs + maf(seeds=6))).label == "maf"
    assert parallel_flow(only_study(runs)).label == "coupling"


def test_among_flows_of_equal_seeds_the_most_varied_one_represents_all():
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
