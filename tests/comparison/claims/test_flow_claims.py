"""The claims about flows, each with its effect put in, reversed and left out."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from simulated_runs import around, gan, judged, simulate, verdict
from simulated_studies import coupling, density_and_speed, masks, matched, ranked, restricted, widths

from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, UNDECIDED
from zoo.comparison.claims.measure import of_examples
from zoo.comparison.claims.render import measured_text, standing
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import BITS_PER_DIM, NLL


def test_flows_are_parallel_and_sharp_if_shallow_and_as_sharp_as_real_images():
    key = "flows-parallel-sharp"
    assert verdict(key, coupling()) == SUPPORTED
    assert verdict(key, coupling(0.5)) == REFUTED
    assert verdict(key, coupling(2.0)) == REFUTED
    assert verdict(key, coupling(0.8, spread=0.2)) == UNDECIDED
    assert verdict(key, coupling(depth=64)) == REFUTED, "not fewer evaluations than dimensions"
    assert verdict(key, gan(sharpness=1.0)) == UNDECIDED


def test_the_error_of_the_real_images_is_part_of_a_sharpness():
    def outcome(error):
        runs = coupling()
        for run in runs:
            run.record.metrics["sharpness"].standard_error = error
        decision = judged("flows-parallel-sharp", runs)
        return next(p.outcome for p in decision.parts if p.sentence.startswith("Sharpness of"))

    assert outcome(0.05).error > 0.05 > outcome(None).error, "all seeds share the real images"
    runs = simulate(
        "realnvp", "flow", seeds=5, sharpness=around(1), spectrum=around(1), distance=10.0, floor=1.0
    )
    runs[0].record.status = "diverged"
    runs[0].record.metrics.clear()
    text = measured_text(judged("flows-parallel-sharp", runs))
    assert "Without a value, since they failed: 1 of 5" in text


def test_noise_is_not_called_sharp():
    key = "flows-parallel-sharp"
    assert verdict(key, coupling(spectrum=2.0)) == REFUTED
    far = judged(key, coupling(distance=70.0))
    assert far.verdict == UNDECIDED
    assert re.search("are [67]. times as far from real examples as these are from each", measured_text(far))
    unknown = judged(key, coupling(distance=None))
    assert unknown.verdict == UNDECIDED
    assert "no distance says" in measured_text(unknown)
    assert verdict(key, coupling(0.5, distance=70.0)) == REFUTED


def test_both_the_better_density_and_the_slower_samples_are_needed():
    key = "coupling-autoregressive"
    assert verdict(key, masks(1.5, 0.02)) == SUPPORTED
    assert verdict(key, masks(2.5, 0.02)) == REFUTED
    assert verdict(key, masks(1.5, 0.0002)) == REFUTED
    assert verdict(key, masks(2.0, 0.02)) == UNDECIDED
    assert verdict(key, masks(2.0, 0.0001)) == REFUTED
    decision = judged(key, masks(1.5, 0.02, kind="lower bound"))
    assert decision.verdict == UNDECIDED
    assert "likelihoods of one kind" in measured_text(decision)


def test_latencies_are_written_in_milliseconds():
    latency = judged("coupling-autoregressive", masks(1.5, 0.02)).parts[1]
    assert re.match(
        r"Latency of one sample: nsf_autoregressive 2\d\.\d ± \S+ ms, nsf_coupling [12]\.\d+ ± ",
        latency.sentence,
    )


def test_latencies_that_runs_measured_themselves_are_marked_beside_the_verdict():
    runs = masks(1.5, 0.02)
    assert "not re-timed" in standing(judged("coupling-autoregressive", runs))
    for run in runs:
        run.record.sampling.session = "one"
    decision = judged("coupling-autoregressive", runs)
    assert decision.verdict == SUPPORTED
    assert "not re-timed" not in standing(decision)


def test_latencies_of_two_devices_are_not_compared():
    def study(seeds):
        runs = masks(1.5, 0.02, seeds)
        for run in runs:
            run.record.sampling.device = "a card" if run.record.seed else "cpu"
        return runs

    decision = judged("coupling-autoregressive", study(3))
    assert decision.verdict == UNDECIDED
    assert "nsf_autoregressive and nsf_coupling, 3 finished seeds on one device" in decision.missing[0].needs
    decision = judged("coupling-autoregressive", study(4))
    assert decision.verdict == SUPPORTED
    assert decision.parts[1].n == "3 and 3"


@pytest.mark.parametrize(("setting", "value"), [("threads", 4), ("dtype", "float64"), ("compiled", True)])
def test_latencies_measured_in_another_way_are_not_compared(setting, value):
    runs = masks(1.5, 0.02)
    assert verdict("coupling-autoregressive", runs) == SUPPORTED
    runs = masks(1.5, 0.02)
    for run in runs[:3]:
        setattr(run.record.sampling, setting, value)
    assert verdict("coupling-autoregressive", runs) == UNDECIDED


def test_images_have_no_pair_that_differs_in_masking_alone():
    runs = masks(1.5, 0.02)
    for run in runs:
        run.record.provenance.data.shape = [1, 8, 8]
    assert not judged("coupling-autoregressive", runs).deciding


def test_flows_of_unlike_sizes_or_masks_are_reported_beside():
    decision = judged("coupling-autoregressive", masks(1.5, 0.02, parameters=(2000, 1000)))
    assert decision.verdict == UNDECIDED
    assert not decision.deciding
    assert "Sizes are not matched: 2.00 times the parameters." in decision.parts[0].sentence
    affine = judged("coupling-autoregressive", density_and_speed(1.5, 0.02))
    assert (affine.verdict, [part.decides for part in affine.parts]) == (UNDECIDED, [False, False])
    assert "differ in masking alone" in measured_text(affine)


def test_of_several_pairs_the_one_of_matched_size_and_equal_most_updates_decides():
    def trained(runs, updates, **more):
        for run in runs:
            run.record.run_id += f"-{updates}{more}"
            run.record.provenance.config["training"] = {"updates": updates}
            run.record.provenance.config["model"] |= more
            run.record.provenance.config_hash_without_seed += f"{updates}{more}"
        return runs

    unmatched = trained(masks(1.5, 0.02, parameters=(3000, 1000)), 2000, width=9)
    short = trained(masks(1.7, 0.02), 300)
    long = trained(masks(1.6, 0.02), 1000)
    decision = judged("coupling-autoregressive", unmatched + short + long)
    assert decision.deciding[0].outcome.estimate == pytest.approx(-0.4, abs=0.05)
    unequal = judged("coupling-autoregressive", short[:3] + long[3:])
    assert not unequal.deciding, "other numbers of updates are no pair"


@pytest.mark.parametrize("key", ["bins", "bound", "blocks", "dropout"])
def test_flows_of_another_transformation_or_conditioner_are_no_pair(key):
    runs = masks(1.5, 0.02)
    for run in runs[:3]:
        run.record.provenance.config["model"][key] = 9
    assert not judged("coupling-autoregressive", runs).deciding


def test_parameters_are_compared_at_the_same_quality_alone():
    def study(distance, parameters, spread=0.05):
        return [
            *simulate("ffjord", "continuous flow", distance=around(distance, spread), parameters=parameters),
            *simulate("realnvp", "flow", distance=around(3, salt=1), parameters=1000),
        ]

    key = "discrete-continuous"
    assert [verdict(key, study(distance, 500)) for distance in (1, 3)] == [SUPPORTED] * 2
    assert [verdict(key, study(distance, 5000)) for distance in (9, 3)] == [REFUTED] * 2
    assert verdict(key, study(9, 1000)) == REFUTED
    for distance, parameters, seen in (
        (9, 500, "fewer parameters and is worse"),
        (1, 5000, "no fewer parameters and is better"),
    ):
        decision = judged(key, study(distance, parameters))
        assert decision.verdict == UNDECIDED
        assert f"Quality was not matched: the continuous flow has {seen}" in measured_text(decision)
    for parameters in (500, 5000):
        decision = judged(key, study(3, parameters, spread=0.5))
        assert decision.verdict == UNDECIDED, "not worse beyond doubt is not the same"
        assert "beyond doubt" in measured_text(decision)


def test_restrictions_cost_if_every_discrete_flow_is_farther_from_the_data():
    key = "restricted-architecture"
    assert verdict(key, restricted()) == SUPPORTED
    assert verdict(key, restricted(far=0.5)) == REFUTED
    assert verdict(key, restricted(far=1.0)) == UNDECIDED
    assert verdict(key, restricted(near=-0.01, far=0.5)) == SUPPORTED, "an unbiased distance may be negative"


@pytest.mark.parametrize(
    ("without", "missing"),
    [
        ("realnvp", "a coupling flow"),
        ("maf", "an autoregressive flow"),
        ("residual_flow", "a residual flow"),
    ],
)
def test_restrictions_are_undecided_if_a_kind_of_flow_is_missing(without, missing):
    decision = judged("restricted-architecture", restricted(without=without))
    assert decision.verdict == UNDECIDED
    assert f"ffjord and {missing} of as many parameters" in measured_text(decision)


@pytest.mark.parametrize("unlike", [{"parameters": 4700}, {"parameters": 6100}, {"updates": 900}])
def test_restrictions_are_compared_at_the_same_size_and_budget_alone(unlike):
    decision = judged("restricted-architecture", restricted(**unlike))
    assert (decision.verdict, decision.parts) == (UNDECIDED, [])


def test_a_narrow_field_has_to_be_worse_and_a_wide_one_slower():
    assert verdict("field-width", widths(3, 0.1)) == SUPPORTED
    assert verdict("field-width", widths(1, 0.1)) == REFUTED
    assert verdict("field-width", widths(3, 0.001)) == REFUTED
    assert verdict("field-width", widths(3, 0.01)) == UNDECIDED, "one part is equivalent"
    assert "two widths" in measured_text(judged("field-width", widths(3, 0.1)[:3]))


def test_matching_is_compared_with_likelihood_at_equal_seconds():
    key = "matching-efficient"
    assert verdict(key, matched(2)) == SUPPORTED
    assert verdict(key, matched(3)) == REFUTED
    assert verdict(key, matched(2, seconds=80)) == UNDECIDED
    assert verdict(key, matched(2, parameters=5000)) == UNDECIDED
    assert "40 seconds each: 300 updates" in judged(key, matched(2)).parts[0].sentence
    assert "zoo sweep ffjord_vs_matching" in measured_text(judged(key, gan(distance=1.0)))


def test_likelihood_and_quality_disagree_if_pairs_of_models_are_inverted():
    key = "likelihood-quality"
    decision = judged(key, ranked([9, 7, 5, 3, 2, 1]))
    assert decision.verdict == SUPPORTED
    assert "-1.00" in measured_text(decision)
    assert "m0 has the better likelihood and the worse samples of m0 and m" in measured_text(decision)
    assert verdict(key, ranked([9, 7, 8])) == UNDECIDED, "fewer than four models"


def test_one_sure_inversion_is_enough_against_a_high_rank_correlation():
    assert verdict("likelihood-quality", ranked([2, 1, 3, 5, 7, 9, 11, 13])) == SUPPORTED


def test_no_rank_correlation_is_against_a_sentence_on_what_can_happen():
    decision = judged("likelihood-quality", ranked([1, 2, 3, 5, 7, 9]))
    assert "rank correlation 1.00" in measured_text(decision)
    assert decision.verdict == UNDECIDED
    assert "none is inverted beyond doubt." in measured_text(decision)
    close = measured_text(judged("likelihood-quality", ranked([1.001, 1, 3, 5])))
    assert "none is inverted beyond doubt; the surest: m0 has" in close


def test_likelihoods_of_different_kinds_are_not_ranked_together():
    bounds = []
    for index in range(3):
        numbers = {"bits": around(1, salt=index), "distance": around(99), "kind": "lower bound"}
        bounds += simulate(f"b{index}", "vae", **numbers)
    runs = ranked([1, 2, 3, 5, 7, 9])
    decision = judged("likelihood-quality", runs + bounds)
    text = measured_text(decision)
    assert text.startswith(
        "Of 18 pairs of models whose bits_per_dim are of one kind (6 exact, 3 lower bound)"
    )
    assert "over the 6 models of kind exact" in measured_text(decision)
    assert decision.verdict == UNDECIDED
    inverted = simulate("b3", "vae", bits=around(0.5), distance=around(500), kind="lower bound")
    assert verdict("likelihood-quality", runs + bounds + inverted) == SUPPORTED, "a pair of the rarer kind"


def test_the_error_of_the_test_examples_is_part_of_a_difference_of_likelihoods(tmp_path):
    rng = np.random.default_rng(0)
    runs = masks(1.99, 0.02, seeds=5)
    for shift, side in ((0.0, runs[:5]), (0.5, runs[5:])):
        values = -90 + rng.normal(size=200) + shift  # in nats; the seeds agree, examples do not
        for run in side:
            run.directory = tmp_path / run.record.run_id
            run.directory.mkdir()
            np.savez(run.directory / "likelihood.npz", values=values.astype("f4"), indices=np.arange(200))
    a, b = (Group("m", side) for side in (runs[:5], runs[5:]))
    scores = [run.arrays("likelihood.npz")["values"] for run in (runs[0], runs[5])]
    change = scores[0].astype("f8") - scores[1]
    per_dim = 1 / (64 * math.log(2))
    assert of_examples(a, b, NLL) == pytest.approx(change.var(ddof=1) / 200)
    assert of_examples(a, b, BITS_PER_DIM) == pytest.approx(change.var(ddof=1) / 200 * per_dim**2)
    with_examples = judged("coupling-autoregressive", runs).deciding[0]
    for run in runs:
        (run.directory / "likelihood.npz").unlink()
    without = judged("coupling-autoregressive", runs).deciding[0]
    assert with_examples.outcome.error > without.outcome.error
    assert with_examples.test.endswith("which are paired")
    assert not without.test.endswith("which are paired")
