"""The claim that autoregressive generation cannot be parallelised."""

from __future__ import annotations

from simulated_runs import judged, simulate, verdict
from simulated_studies import SIDES, scaling

from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, UNDECIDED
from zoo.comparison.claims.render import measured_text
from zoo.comparison.collect import Run
from zoo.record import SamplingOrder


def test_depth_has_to_grow_for_autoregressive_models_alone():
    key = "autoregressive"
    decision = judged(key, scaling(lambda d: d))
    assert decision.verdict == SUPPORTED
    assert "D^1.00 exactly (pixelcnn), D^1.00 exactly (maf)" in measured_text(decision)
    assert "solvers" not in measured_text(decision), "these decide nothing"
    assert verdict(key, scaling(lambda d: 4)) == REFUTED
    assert verdict(key, scaling(lambda d: d, others=lambda d: d)) == REFUTED
    assert verdict(key, scaling(lambda d: d**0.05 * 1000)) == REFUTED, "below the power that counts as growth"
    without_flow = [run for run in scaling(lambda d: d) if run.record.model != "maf"]
    assert verdict(key, without_flow) == SUPPORTED


def test_depth_needs_three_sizes():
    decision = judged("autoregressive", scaling(lambda d: d, sides=SIDES[:2]))
    assert decision.verdict == UNDECIDED
    assert "at 3 or more sizes" in measured_text(decision)


def test_the_depth_of_solvers_of_untrained_networks_is_called_that():
    def sentence(updates):
        parts = judged("autoregressive", scaling(lambda d: d, updates=updates)).parts
        (part,) = [part for part in parts if "solvers" in part.sentence]
        assert not part.decides
        return part.sentence

    assert "These networks are untrained (at most 5 updates)" in sentence(5)
    assert "untrained" not in sentence(300)


def test_the_time_of_the_others_is_reported_and_not_tested():
    decision = judged("autoregressive", scaling(lambda d: d))
    (part,) = [part for part in decision.parts if part.sentence.startswith("Times of the others, which")]
    assert not part.decides
    assert all(f"({model})" in part.sentence for model in ("realnvp", "gan", "ffjord"))
    assert "grows" in part.sentence


def test_depth_decides_by_construction_and_time_is_reported_beside():
    decision = judged("autoregressive", scaling(lambda d: d))
    assert decision.by_construction
    assert decision.p is None
    (time,) = [part for part in decision.parts if part.sentence.startswith("Time of one sample")]
    assert (time.decides, time.p, time.outcome) == (False, None, None)
    assert "exponents larger by 0.9" in time.sentence


def grown(model: str, family: str, order: SamplingOrder, power: float) -> list[Run]:
    """Return runs of a model whose sequential evaluations grow as a power of the dimensions."""
    sides = {side: side**2 for side in SIDES}
    return [
        run
        for side, d in sides.items()
        for run in simulate(model, family, seeds=1, side=side, order=order, depth=d**power, updates=5)
    ]


def test_a_model_that_declares_parallel_sampling_counts_as_one_pass():
    runs = scaling(lambda d: d)
    constant = judged("autoregressive", runs + grown("mine", "a family of mine", "parallel", 0.0))
    assert constant.verdict == SUPPORTED
    (part,) = [part for part in constant.parts if part.sentence.startswith("Those of families")]
    assert "(mine)" in part.sentence
    assert verdict("autoregressive", runs + grown("mine", "a family of mine", "parallel", 1.0)) == REFUTED


def test_a_flow_that_declares_a_solver_is_listed_with_the_solvers():
    runs = scaling(lambda d: d, updates=5)
    for run in runs:
        if run.record.model == "realnvp":
            run.record.cost.updates = 300
    decision = judged("autoregressive", runs + grown("i_resnet", "flow", "solver", 1.0))
    assert decision.verdict == SUPPORTED, "the depth of a solver decides nothing"
    (part,) = [part for part in decision.parts if "(i_resnet)" in part.sentence]
    assert part.sentence.startswith("Those of solvers, ")
    assert "untrained (at most 5 updates)" in part.sentence, "other flows have no part in the remark"


def test_configurations_that_differ_in_more_than_the_size_are_kept_apart():
    runs = scaling(lambda d: d)
    wider = simulate("pixelcnn", "autoregressive", seeds=1, side=64, depth=1, settings={"model.width": 9})
    assert verdict("autoregressive", runs + wider) == SUPPORTED
