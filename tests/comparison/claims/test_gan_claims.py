"""The claims about GANs and VAEs, each with its effect put in, reversed and left out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from simulated_runs import BARE, DISTANCE, WGAN_GP, around, gan, judged, simulate, verdict, wgan
from simulated_studies import RATES, blur, critics, rates, spectral

from zoo.comparison.claims import sensitivity
from zoo.comparison.claims.evidence import EQUIVALENT, REFUTED, SUPPORTED, UNDECIDED, Part, Verdict
from zoo.comparison.claims.render import evidence_text, measured_text, standing
from zoo.comparison.claims.sides import best_rates
from zoo.comparison.collect import Run
from zoo.comparison.studies import studies
from zoo.record import Metric


def test_a_vae_is_blurry_if_less_sharp_than_real_images_and_than_its_rivals():
    decision = judged("vae-blurry", blur(0.4))
    assert decision.verdict == SUPPORTED
    assert [part.n for part in decision.parts] == ["3", "3 and 3", "3 and 3", "3 and 3"]
    assert [part.decides for part in decision.parts] == [True, True, True, False], "glow is reported beside"
    assert verdict("vae-blurry", blur(1.7)) == REFUTED
    assert verdict("vae-blurry", blur(0.4, others=0.2)) == REFUTED
    assert verdict("vae-blurry", blur(0.4, others=0.4, spread=0.3)) == UNDECIDED
    assert "sharpness of vae" in measured_text(judged("vae-blurry", blur(0.4)[2:]))


def test_the_blur_of_real_images_that_matches_a_vae_is_reported():
    runs = blur(0.4)
    for run in runs[:3]:
        run.record.metrics["sharpness"].details["blur_sigma"] = 0.5
    assert "like real images blurred by 0.5 pixels" in measured_text(judged("vae-blurry", runs))


def test_oscillations_are_told_once_at_the_rates_that_the_verdict_rests_on():
    runs = rates(1.5, 0.1, oscillation=(0.3, 0.1))
    beside = [part.sentence for part in judged("gan-unstable", runs).parts if not part.decides]
    assert not [sentence for sentence in beside if sentence.startswith("Oscillation of")]


def sensitivity_part(runs: list[Run]) -> Part:
    """Return the comparison of the bare GAN's and the coupling flow's dependence on the learning rate."""
    parts = judged("gan-unstable", runs).parts
    matching = (part for part in parts if part.sentence.startswith("Over learning rates"))
    return next(matching, Part(sentence="Nothing.", n="0"))


def dependence(runs: list[Run]) -> Verdict:
    return sensitivity_part(runs).verdict


def test_how_much_a_gan_depends_on_the_learning_rate_is_reported_beside():
    part = sensitivity_part(rates(1.5, 0.1))
    assert (part.verdict, part.decides) == (SUPPORTED, False)
    assert "learning rates 0.0005, 0.002, 0.008" in part.sentence
    assert "learned at no rate" not in part.sentence
    assert dependence(rates(1.5, 0.1, level=200)) == SUPPORTED
    assert dependence(rates(0.1, 1.0)) == REFUTED
    assert dependence(rates(0.1, 1.5, level=0.1)) == REFUTED, "steady and better"
    assert dependence(rates(0.0, 0.0)) == UNDECIDED
    assert verdict("gan-unstable", [r for r in rates(1.5, 0.1) if r.record.model != "maf"]) == UNDECIDED


def test_a_gan_is_unstable_if_it_oscillates_more_at_its_own_best_rate():
    decision = judged("gan-unstable", rates(0.1, 0.1, seeds=6, oscillation=(0.6, 0.1)))
    assert decision.verdict == SUPPORTED
    assert [part.decides for part in decision.parts[:3]] == [True, True, False]
    assert "gan without tricks (best at rate " in measured_text(decision)
    assert "oscillation 6" in measured_text(decision)
    assert verdict("gan-unstable", rates(0.1, 0.1, seeds=6, oscillation=(0.1, 0.6))) == REFUTED
    assert verdict("gan-unstable", rates(0.1, 0.1, seeds=6, oscillation=(0.1, 0.1))) == UNDECIDED


def test_a_gan_is_unstable_if_more_of_its_runs_collapse():
    def study(model):
        runs = rates(0.1, 0.1, seeds=6)
        for run in runs:
            bare = run.record.model == "gan" and run.record.provenance.config["training"].get("ema") == 0
            if run.record.seed < 6 and (bare if model == "gan" else run.record.model == model):
                run.record.metrics["recall/x"] = Metric(0.01, "1", "estimate", n=100)
        return runs

    decision = judged("gan-unstable", study("gan"))
    assert decision.verdict == SUPPORTED
    assert (
        "collapsed or diverged 6 of 6 (100 %, exact 95 % interval 54 to 100 %) and 0 of 6"
        in measured_text(decision)
    )
    assert verdict("gan-unstable", study("realnvp")) == REFUTED
    assert verdict("gan-unstable", rates(0.1, 0.1, seeds=6, lost=(0, 1))) == SUPPORTED, "divergence counts"


def test_the_learning_rate_of_least_distance_is_each_models_own():
    runs = [run for run in rates(1.5, -0.7, seeds=3) if run.record.seed < 3]
    text = measured_text(judged("gan-unstable", runs))
    assert (
        "gan without tricks (best at rate 0.0005, the least tried) against realnvp (best at 0.008, the"
        in text
    )


def test_a_run_that_failed_counts_as_the_worst_and_is_reported():
    runs = critics(20, 4)
    more = wgan(seeds=5, distance=around(9, salt=1))
    more[4].record.metrics[DISTANCE].value = None
    more[4].record.metrics[DISTANCE].reason = "All 1000 samples are identical."
    runs = [run for run in runs if run.record.model != "wgan"] + more
    part = judged("wgan", runs).parts[0]
    assert part.n == "5 and 3"
    assert (
        part.sentence.endswith(
            "Failed runs of wgan: 1 of 5 (20 %, exact 95 % interval 1 to 72 %), ranked worst."
            " At one learning rate each (0.001): effort of tuning is not matched."
        )
        or "ranked worst." in part.sentence
    )
    assert part.test.startswith("exact rank-sum test")
    assert part.outcome.p == pytest.approx(2 / 56)


def test_a_rate_at_which_most_runs_failed_is_not_the_best():
    risky = {"training.lr": 0.004}
    runs = gan(risky, distance=1)[:1] + gan(risky, status="diverged")[1:] + gan(distance=around(3))
    (study,) = studies(runs)
    grid = study.rates(study.groups[0])
    assert [len(group.runs) for group in grid.values()] == [3, 3]
    assert best_rates(study, [grid])[0] == [0.001]


def with_curve(runs: list[Run], folder: Path, late: float, early: float = 30.0) -> list[Run]:
    """Give each run a curve of validation whose last third lies about a value."""
    for run in runs:
        run.directory = folder / f"{run.record.run_id}-{late:g}"
        run.directory.mkdir(parents=True)
        points = [(100, early), (200, early), (250, late - 0.5), (300, late + 0.5)]
        rows = [f"{updates},{value}" for updates, value in points]
        (run.directory / "curves.csv").write_text("\n".join(["updates,val/energy_distance", *rows]))
    return runs


def test_validation_chooses_the_rate_and_test_data_judge_it(tmp_path):
    low = with_curve(gan({"training.lr": 0.001}, distance=around(3)), tmp_path / "a", late=2, early=1)
    high = with_curve(gan({"training.lr": 0.004}, distance=around(9)), tmp_path / "b", late=1, early=50)
    (study,) = studies(low + high)
    grid = study.rates(study.groups[0])
    assert best_rates(study, [grid]) == ([0.004], "chosen by validation")
    for run in high[:2]:
        run.record.status = "diverged"
    (study,) = studies(low + high)
    assert best_rates(study, [study.rates(study.groups[0])])[0] == [0.001], (
        "a run that did not finish is infinitely far"
    )


def test_without_validation_of_all_runs_the_rates_are_chosen_on_test_data_and_the_sentence_says_so(tmp_path):
    runs = []
    for lr, late in ((0.001, 2), (0.004, 1)):
        for momentum in (0.0, 0.5):
            side = gan(
                {"training.lr": lr, "training.betas": [momentum, 0.99]}, distance=around(3 + 1000 * lr)
            )
            runs += with_curve(side, tmp_path / f"{lr}-{momentum}", late)
    sentence = judged("momentum-off", runs).parts[0].sentence
    assert sentence.endswith(
        "Each at the best of its 2 learning rates, chosen by validation: 0.004 (the largest tried) and 0.004 "
        "(the largest tried). Not told apart from the chosen rates: 0.001 (beta1 = 0) and 0.001 (beta1 = "
        "0.5)."
    )
    (runs[0].directory / "curves.csv").unlink()
    sentence = judged("momentum-off", runs).parts[0].sentence
    assert "chosen on the test data, for want of validation: 0.001 (the least tried) and 0.001" in sentence


def test_tricks_are_compared_at_each_sides_own_best_rate():
    def study(rates):
        runs = []
        for index, lr in enumerate(rates):
            runs += gan({"training.lr": lr}, distance=around(3 + 5 * index, salt=index))
            worse = {"training.lr": lr, "training.betas": [0.5, 0.99]}
            runs += gan(worse, distance=around(20 - 8 * index, salt=index + 9))
        return runs

    part = judged("momentum-off", study((0.001, 0.002, 0.004))).parts[0]
    assert "for want of validation: 0.001 (the least tried) and 0.004 (the largest tried)" in part.sentence
    assert part.outcome.estimate == pytest.approx(3 / 4, rel=0.1)
    one = judged("momentum-off", study((0.001,))).parts[0]
    assert "At one learning rate each (0.001)" in one.sentence


@pytest.mark.parametrize("key", ["ema", "truncation"])
def test_two_read_outs_of_one_training_are_compared_by_pairs(key):
    change = {"ema": {"training.ema": 0.0}, "truncation": {"model.truncation": 0.7}}[key]
    seeds = around(1, 0.8)

    def of(factor, salt):
        spread = around(factor, 0.02, salt)
        return lambda seed: 3 * seeds(seed) * spread(seed)

    factors = {"ema": (0.7, 1.0), "truncation": (1.0, 0.7)}[key]
    runs = gan(distance=of(factors[0], 1), precision=of(factors[0], 2), recall=of(1, 3), seeds=5)
    runs += gan(change, distance=of(factors[1], 4), precision=of(1.4, 5), recall=of(0.7, 6), seeds=5)
    decision = judged(key, runs)
    assert decision.verdict == SUPPORTED, "the spread over seeds is 40 times that within a pair"
    assert decision.deciding[0].n == "5 pairs"


def test_runs_that_did_not_finish_are_counted_beside():
    sentences = [part.sentence for part in judged("gan-unstable", rates(1.5, 0.1, lost=(2,))).parts]
    assert any(text.startswith("3 of 18 runs of GANs and 0 of 18 of flows") for text in sentences)


def test_spikes_of_training_are_counted_beside():
    runs = rates(1.5, 0.1)
    for run in runs:
        run.record.stability.updates_watched = 500
        run.record.stability.loss_spikes = 2 if run.record.family == "gan" else 0
    sentences = [part.sentence for part in judged("gan-unstable", runs).parts]
    assert "In 1,000 updates 4 loss spikes of GANs, 0 of the others." in sentences


def test_a_gan_that_learned_at_no_rate_is_not_called_stable(monkeypatch):
    useless = sensitivity_part(rates(0.1, 1.0, level=200))  # as bad at every rate
    assert useless.verdict == UNDECIDED
    assert "gan without tricks is 181.6, over 3 times the" in useless.sentence
    assert "it learned at no rate" in useless.sentence
    monkeypatch.setattr(sensitivity, "FAR", math.inf)
    assert dependence(rates(0.1, 1.0, level=200)) == REFUTED


@pytest.mark.parametrize("lost", [(2,), (0, 1), (0, 1, 2)])
def test_divergence_is_the_extreme_of_instability(lost):
    decision = sensitivity_part(rates(0.1, 1.0, lost=lost))
    assert decision.verdict == SUPPORTED
    assert "without bound at 3 seeds (a run diverged) for gan without tricks" in decision.sentence
    assert dependence(rates(1.5, 0.1, lost_flow=lost)) == REFUTED
    assert dependence(rates(0.1, 1.0, lost=lost, lost_flow=lost)) == UNDECIDED


def diverged(runs: list[Run], family: str) -> list[Run]:
    """Let one seed of the bare GAN, or of the flows, diverge at the largest rate."""
    for run in runs:
        training = run.record.provenance.config["training"]
        concerned = run.record.family == family and training.get("ema", 0) == 0
        if concerned and training["lr"] == RATES[-1] and run.record.seed == 1:
            run.record.status, run.record.metrics = "diverged", {}
    return runs


def test_a_seed_that_diverged_is_not_evidence_of_steadiness():
    assert dependence(rates(0.1, 1.0, seeds=8)) == REFUTED
    assert dependence(diverged(rates(0.1, 1.0, seeds=8), "gan")) == UNDECIDED
    assert dependence(rates(1.5, 0.1, seeds=8)) == SUPPORTED
    assert dependence(diverged(rates(1.5, 0.1, seeds=8), "flow")) == UNDECIDED


def test_a_seed_that_diverged_counts_as_the_largest_spread():
    assert dependence(diverged(rates(1.5, 0.1), "gan")) == SUPPORTED


def test_two_sides_without_a_finished_run_are_not_compared():
    everywhere = (0, 1, 2)
    runs = rates(1, 1, lost=everywhere, lost_flow=everywhere) + simulate("vae", "vae", distance=3)
    assert any("a finished run of" in one.needs for one in judged("gan-unstable", runs).missing)


def test_claims_about_critics_are_decided_by_the_distance():
    keys = ("wgan", "gradient-penalty", "spectral-norm")
    assert [verdict(key, critics(20, 4)) for key in keys] == [SUPPORTED] * 3
    assert [verdict(key, critics(1, 9, spectral=9)) for key in keys] == [REFUTED] * 3
    assert [verdict(key, critics(3, 3, spectral=3)) for key in keys] == [EQUIVALENT] * 3


def test_two_seeds_decide_nothing():
    few = [run for run in critics(20, 4) if (run.record.model, run.record.seed) != ("wgan", 0)]
    assert verdict("wgan", few) == UNDECIDED


def test_the_values_of_both_sides_are_counted():
    runs = gan(seeds=4, distance=around(3)) + wgan(seeds=5, distance=around(9))
    assert judged("wgan", runs).parts[0].n == "5 and 4"


def test_the_ratio_is_that_of_the_first_group_to_the_second():
    (part, *_) = judged("wgan", critics(30, 4)).parts
    assert part.outcome.estimate == pytest.approx(10, rel=0.1)
    assert part.sentence.startswith("fd/digits-cnn: wgan ")


def extrapolated(factors: tuple[float, float]) -> list[Run]:
    """Return a GAN and a WGAN whose extrapolated distances are the plain ones times these factors."""
    runs = gan(distance=around(3)) + wgan(distance=around(9, salt=1))
    for run in runs:
        factor = factors[run.record.model == "wgan"]
        value = factor * run.record.metrics[DISTANCE].value
        run.record.metrics["fd_inf/digits-cnn"] = Metric(value, "1", "estimate", n=100)
    return runs


def test_the_extrapolated_distance_decides_where_all_runs_have_it():
    part = judged("wgan", extrapolated((1, 1 / 9))).parts[0]
    assert part.sentence.startswith("fd_inf/digits-cnn: wgan 0.981 ± ")
    assert part.verdict == REFUTED, "by the plain distance it would be supported"
    assert part.outcome.estimate == pytest.approx(1 / 3, rel=0.1)


def test_the_plain_distance_decides_where_a_run_lacks_the_extrapolated_one_or_has_it_below_zero():
    without = extrapolated((1, 1 / 9))
    del without[0].record.metrics["fd_inf/digits-cnn"]
    negative = extrapolated((1, 1 / 9))
    negative[-1].record.metrics["fd_inf/digits-cnn"].value = -0.1
    unsampled = extrapolated((1, 1 / 9))
    unsampled[0].record.metrics["fd_inf/digits-cnn"].value = None
    for runs in (without, negative, unsampled):
        part = judged("wgan", runs).parts[0]
        assert part.sentence.startswith("fd/digits-cnn: wgan 8.83 ± ")
        assert part.verdict == SUPPORTED


def test_a_run_without_any_distance_leaves_the_extrapolated_one_deciding():
    runs = extrapolated((1, 1 / 9)) + wgan(seeds=4, status="diverged")[3:] + gan(seeds=4)[3:]
    part = judged("wgan", runs).parts[0]
    assert part.sentence.startswith("fd_inf/digits-cnn: wgan")
    assert "Failed runs of wgan: 1 of 4" in part.sentence


def test_what_two_trainings_cost_is_reported_beside():
    runs = critics(20, 4)
    for run in runs:
        run.record.cost.updates, run.record.cost.images_seen = 300, 38400
    assert judged("wgan", runs).parts[1].sentence == (
        "Spent: wgan 300 updates and 38,400 real images, gan 300 updates and 38,400 real images."
    )


def test_two_collapsed_generators_are_called_collapsed():
    decision = judged("spectral-norm", spectral(200, 200))
    assert decision.verdict == EQUIVALENT
    assert "Both are collapsed, 204 and 201 times as far as real examples" in measured_text(decision)
    assert verdict("spectral-norm", spectral(200, 100)) == SUPPORTED, "the remark changes no verdict"
    assert "collapsed" not in measured_text(judged("spectral-norm", spectral(200, 20)))
    assert "collapsed" not in measured_text(judged("spectral-norm", spectral(200, 200, floor=None)))


def test_spectral_normalisation_is_judged_by_the_baseline_of_the_gan():
    bare = {"training.r1": 0.0}
    runs = spectral(20, 10) + gan(bare, distance=200.0)
    runs += gan({**bare, "model.critic_norm": "spectral"}, distance=around(250))
    decision = judged("spectral-norm", runs)
    assert decision.verdict == SUPPORTED
    assert [part.decides for part in decision.parts] == [True, False]


@pytest.mark.parametrize(
    ("key", "change", "helps"),
    [
        ("momentum-off", {"training.betas": [0.5, 0.99]}, False),
        ("ema", {"training.ema": 0.0}, False),
        ("augmentation", {"training.augment": ["translation", "cutout"]}, True),
    ],
)
def test_a_trick_is_judged_by_the_pair_that_differs_in_it_alone(key, change, helps):
    """The GAN that the study varies from has the first two tricks and not the third one."""

    def study(changed, **more):
        runs = gan(distance=around(3)) + gan(BARE, distance=99.0)
        return runs + gan(change, distance=around(changed, salt=1), **more)

    supporting, refuting = (1, 9) if helps else (9, 1)
    assert verdict(key, study(supporting)) == SUPPORTED
    assert verdict(key, study(refuting)) == REFUTED
    assert verdict(key, study(3.0)) == EQUIVALENT
    assert verdict(key, study(supporting, protocol="another")) == UNDECIDED
    assert verdict(key, study(supporting, data="moons")) == UNDECIDED


def test_truncation_has_to_raise_precision_and_lower_recall():
    def study(precision, recall):
        runs = gan(precision=around(0.6), recall=around(0.6, salt=1))
        truncated = {"precision": around(precision, salt=2), "recall": around(recall, salt=3)}
        return runs + gan({"model.truncation": 0.7}, **truncated)

    assert verdict("truncation", study(0.9, 0.3)) == SUPPORTED
    assert verdict("truncation", study(0.9, 0.9)) == REFUTED
    assert verdict("truncation", study(0.3, 0.3)) == REFUTED
    assert verdict("truncation", study(0.9, 0.6)) == UNDECIDED


@pytest.mark.parametrize(("updates", "is_short"), [(300, True), (29_999, True), (30_000, False), (None, 0)])
def test_the_evidence_about_a_wgan_of_a_short_budget_says_so(updates, is_short):
    runs = critics(30, 4)
    for run in runs:
        run.record.cost.updates = updates
    decision = judged("wgan", runs)
    assert standing(decision).endswith("short budget") == is_short
    sentence = f"the runs had {updates:,} updates, where published WGANs" if updates else "the runs had"
    assert (sentence in evidence_text(decision)) == is_short
    assert decision.verdict == judged("wgan", critics(30, 4)).verdict


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("wgan", {"training.weight_clip": 0.01}),
        ("gradient-penalty", {"training.gradient_penalty": 10.0}),
        ("momentum-off", {"training.betas": [0.5, 0.99]}),
        ("augmentation", {"training.augment": ["translation"]}),
    ],
)
def test_what_is_reported_beside_is_of_the_runs_that_decide(key, change):
    """Both sides have runs of 1,000 updates at three rates, and of 300 updates (the usual number) at one."""
    runs = []
    for updates, grid in ((300, (0.001,)), (1000, (0.0005, 0.001, 0.002))):
        for lr in grid:
            budget = {"training.updates": updates, "training.lr": lr}
            numbers = {"distance": around(1000 * lr + 1), "sharpness": around(1.0), "updates": updates}
            numbers["oscillation"] = around(0.1)
            runs += gan(budget, **numbers)
            if key in ("wgan", "gradient-penalty"):
                clip = {"training.loss": "wasserstein", "training.weight_clip": 0.01}
                runs += simulate("wgan", "gan", settings={**clip, **budget}, **numbers)
                runs += simulate("wgan_gp", "gan", settings={**WGAN_GP, **budget}, **numbers)
            else:
                runs += gan({**change, **budget}, **numbers)
    for run in runs:
        run.record.cost.images_seen = 128 * run.record.cost.updates
        run.record.metrics["memorisation/x"] = Metric(0.3, "1", "estimate", n=100)
    deciding, beside = judged(key, runs).parts[:2]
    assert not beside.decides
    ids = [{run.record.run_id for run in part.runs} for part in (deciding, beside)]
    assert ids[0] == ids[1]
    assert {run.record.cost.updates for run in beside.runs} == {1000}
    if key == "wgan":
        assert "gan 1,000 updates" in beside.sentence
