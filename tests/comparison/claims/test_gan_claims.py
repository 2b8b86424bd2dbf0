"""The claims about GANs and VAEs, each with its effect put in, reversed and left out."""

from __future__ import annotations

import math

import pytest
from simulated_runs import BARE, around, gan, judged, simulate, verdict
from simulated_studies import RATES, blur, critics, rates, spectral

from zoo.comparison.claims import sensitivity
from zoo.comparison.claims.render import measured_text
from zoo.comparison.claims.verdict import REFUTED, SUPPORTED, UNDECIDED
from zoo.comparison.collect import Run


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


def test_gan_training_is_unstable_if_it_depends_more_on_the_learning_rate():
    decision = judged("gan-unstable", rates(1.5, 0.1))
    assert decision.verdict == SUPPORTED
    assert "learning rates 0.0005, 0.002, 0.008" in measured_text(decision)
    assert "learned at no rate" not in measured_text(decision)
    assert verdict("gan-unstable", rates(1.5, 0.1, level=200)) == SUPPORTED
    assert verdict("gan-unstable", rates(0.1, 1.0)) == REFUTED
    assert verdict("gan-unstable", rates(0.1, 1.5, level=0.1)) == REFUTED, "steady and better"
    assert verdict("gan-unstable", rates(0.0, 0.0)) == UNDECIDED
    assert verdict("gan-unstable", [r for r in rates(1.5, 0.1) if r.record.model != "maf"]) == UNDECIDED


def test_runs_that_did_not_finish_are_counted_beside():
    sentences = [part.sentence for part in judged("gan-unstable", rates(1.5, 0.1, lost=(2,))).parts]
    assert any(text.startswith("3 of 18 runs of GANs and 0 of 18 of flows") for text in sentences)


def test_the_oscillation_of_training_is_compared_beside():
    parts = judged("gan-unstable", rates(1.5, 0.1, oscillation=(0.3, 0.1))).parts
    swings = [part for part in parts if part.sentence.startswith("Oscillation")]
    assert [part.verdict for part in swings] == [SUPPORTED] * 2
    assert not any(part.decides for part in swings)
    assert "of the distance of samples: realnvp 0.1" in swings[0].sentence


def test_spikes_of_training_are_counted_beside():
    runs = rates(1.5, 0.1)
    for run in runs:
        run.record.stability.updates_watched = 500
        run.record.stability.loss_spikes = 2 if run.record.family == "gan" else 0
    sentences = [part.sentence for part in judged("gan-unstable", runs).parts]
    assert "In 1,000 updates 4 loss spikes of GANs, 0 of the others." in sentences


def test_a_gan_that_learned_at_no_rate_is_not_called_stable(monkeypatch):
    useless = judged("gan-unstable", rates(0.1, 1.0, level=200))  # as bad at every rate
    assert useless.verdict == UNDECIDED
    assert "gan without tricks is 181.6, over 3 times the" in measured_text(useless)
    assert "it learned at no rate" in measured_text(useless)
    monkeypatch.setattr(sensitivity, "FAR", math.inf)
    assert verdict("gan-unstable", rates(0.1, 1.0, level=200)) == REFUTED


@pytest.mark.parametrize("lost", [(2,), (0, 1), (0, 1, 2)])
def test_divergence_is_the_extreme_of_instability(lost):
    decision = judged("gan-unstable", rates(0.1, 1.0, lost=lost))
    assert decision.verdict == SUPPORTED
    assert "without bound at 3 seeds (a run diverged) for gan without tricks" in measured_text(decision)
    assert verdict("gan-unstable", rates(1.5, 0.1, lost_flow=lost)) == REFUTED
    assert verdict("gan-unstable", rates(0.1, 1.0, lost=lost, lost_flow=lost)) == UNDECIDED


def diverged(runs: list[Run], family: str) -> list[Run]:
    """Let one seed of the bare GAN, or of the flows, diverge at the largest rate."""
    for run in runs:
        training = run.record.provenance.config["training"]
        concerned = run.record.family == family and training.get("ema", 0) == 0
        if concerned and training["lr"] == RATES[-1] and run.record.seed == 1:
            run.record.status, run.record.metrics = "diverged", {}
    return runs


def test_a_seed_that_diverged_is_not_evidence_of_steadiness():
    assert verdict("gan-unstable", rates(0.1, 1.0, seeds=8)) == REFUTED
    assert verdict("gan-unstable", diverged(rates(0.1, 1.0, seeds=8), "gan")) == UNDECIDED
    assert verdict("gan-unstable", rates(1.5, 0.1, seeds=8)) == SUPPORTED
    assert verdict("gan-unstable", diverged(rates(1.5, 0.1, seeds=8), "flow")) == UNDECIDED


def test_a_seed_that_diverged_counts_as_the_largest_spread():
    assert verdict("gan-unstable", diverged(rates(1.5, 0.1), "gan")) == SUPPORTED


def test_two_sides_without_a_finished_run_are_not_compared():
    everywhere = (0, 1, 2)
    runs = rates(1, 1, lost=everywhere, lost_flow=everywhere) + simulate("vae", "vae", distance=3)
    assert "needs a finished run of" in measured_text(judged("gan-unstable", runs))


def test_claims_about_critics_are_decided_by_the_distance():
    keys = ("wgan", "gradient-penalty", "spectral-norm")
    assert [verdict(key, critics(20, 4)) for key in keys] == [SUPPORTED] * 3
    assert [verdict(key, critics(1, 9, spectral=9)) for key in keys] == [REFUTED] * 3
    assert [verdict(key, critics(3, 3, spectral=3)) for key in keys] == [UNDECIDED] * 3


def test_two_seeds_decide_nothing():
    few = [run for run in critics(20, 4) if (run.record.model, run.record.seed) != ("wgan", 0)]
    assert verdict("wgan", few) == UNDECIDED


def test_the_values_of_both_sides_are_counted():
    runs = gan(seeds=4, distance=around(3)) + simulate("wgan", "gan", seeds=5, distance=around(9))
    assert judged("wgan", runs).parts[0].n == "5 and 4"


def test_the_ratio_is_that_of_the_first_group_to_the_second():
    (part, *_) = judged("wgan", critics(30, 4)).parts
    assert part.outcome.estimate == pytest.approx(10, rel=0.1)
    assert part.sentence.startswith("Fd/digits-cnn: wgan ")


def test_what_two_trainings_cost_is_reported_beside():
    runs = critics(20, 4)
    for run in runs:
        run.record.cost.updates, run.record.cost.images_seen = 300, 38400
    assert judged("wgan", runs).parts[1].sentence == (
        "Spent: wgan 300 updates and 38,400 real images, gan 300 updates and 38,400 real images."
    )


def test_two_collapsed_generators_are_called_collapsed():
    decision = judged("spectral-norm", spectral(200, 200))
    assert decision.verdict == UNDECIDED
    assert "Both are collapsed, 204 and 201 times as far as real examples" in measured_text(decision)
    assert verdict("spectral-norm", spectral(200, 100)) == SUPPORTED, "the remark changes no verdict"
    assert "collapsed" not in measured_text(judged("spectral-norm", spectral(200, 20)))
    assert "collapsed" not in measured_text(judged("spectral-norm", spectral(200, 200, floor=None)))


def test_spectral_normalisation_is_judged_by_the_gan_that_the_study_varies_from():
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
    assert verdict(key, study(3.0)) == UNDECIDED
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
