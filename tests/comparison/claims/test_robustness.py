"""The other tests of each claim's robustness: other distances, learning rates, seeds and measures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from simulated_runs import BARE, DISTANCE, around, gan, judged, simulate, wgan
from simulated_studies import blur, coupling, masks, ranked, rates, restricted, widths

from zoo.comparison.claims.evidence import EQUIVALENT, SUPPORTED, UNDECIDED
from zoo.comparison.claims.render import badge, evidence_text, measured_text
from zoo.comparison.collect import Run
from zoo.record import Load, Metric

INFINITE = "fd_inf/digits-cnn"


def with_metric(runs: list[Run], name: str, value: Callable[[Run], float]) -> list[Run]:
    """Add a metric to every run, and return the runs."""
    for run in runs:
        run.record.metrics[name] = Metric(value(run), "1", "estimate", n=100)
    return runs


def distance(run: Run) -> float:
    return run.record.metrics[DISTANCE].value


def test_the_extrapolated_distance_varies_a_verdict_by_the_runs_that_are_compared():
    """The plain distance decides, since a run of a third model has an extrapolated one below zero."""
    runs = gan(distance=around(3), seeds=5) + wgan(distance=around(9, salt=1), seeds=5)
    elsewhere = simulate("vae", "vae", distance=around(5))
    with_metric(runs, INFINITE, lambda run: distance(run) / (9 if run.record.model == "wgan" else 1))
    with_metric(elsewhere, INFINITE, lambda run: -0.1)
    decision = judged("wgan", runs + elsewhere)
    assert decision.verdict == SUPPORTED
    assert decision.parts[0].sentence.startswith("fd/digits-cnn: wgan")
    assert decision.kept_kinds["fd_inf"] == {INFINITE: 0}, "by the extrapolated distance the WGAN is better"
    (variant,) = [one for one in decision.parts[0].variants() if one.kind == "fd_inf"]
    assert variant.outcome.factor
    with_metric(runs[:1], INFINITE, lambda run: -0.1)
    (variant,) = [one for one in judged("wgan", runs).parts[0].variants() if one.kind == "fd_inf"]
    assert not variant.outcome.factor, "with a value below zero there are no ratios"


def inverted_study() -> list[Run]:
    """Return five models of which the second has a better likelihood and worse samples than the third."""
    return ranked([2.0, 9.0, 5.0, 12.0, 20.0])


def test_likelihood_and_quality_are_varied_by_other_distances_seeds_and_models():
    runs = inverted_study()
    with_metric(runs, "kid/x", lambda run: 7.0 + run.record.seed + 3 * int(run.record.model[1:]))
    with_metric(runs, "coverage/x", lambda run: 1 / distance(run))
    with_metric(runs, INFINITE, lambda run: distance(run) - 2.5)
    decision = judged("likelihood-quality", runs)
    assert decision.verdict == SUPPORTED
    kinds = decision.kept_kinds
    assert kinds["kid"] == {"kid/x": 0}, "by KID the ranks agree with the likelihoods: no inversion"
    assert kinds["coverage"] == {"coverage/x": 1}
    assert kinds["fd_inf"] == {INFINITE: 1}
    assert kinds["another test"] == {"raw values": 1}
    assert kinds["a model left out"]["a model left out"] == pytest.approx(3 / 5), (
        "without m1 or m2 nothing is inverted"
    )
    assert "a seed left out" in kinds


def test_another_inversion_by_another_distance_does_not_keep_the_one_that_was_found():
    runs = inverted_study()
    order = {"m0": 1.0, "m1": 2.0, "m2": 3.0, "m3": 9.0, "m4": 6.0}
    with_metric(runs, "kid/x", lambda run: order[run.record.model] + run.record.seed / 50)
    assert judged("likelihood-quality", runs).kept_kinds["kid"] == {"kid/x": 0}, (
        "by KID another pair is inverted"
    )


def at_rates(folder: Path, by_rate: dict[float, tuple[float, tuple[float, ...]]], change: dict) -> list[Run]:
    """Return a GAN at several rates: each with its distance and the validation distances of its seeds."""
    runs = []
    for index, (lr, (far, validated)) in enumerate(by_rate.items()):
        side = gan({**change, "training.lr": lr}, distance=around(far, 0.02, index), seeds=len(validated))
        for run, value in zip(side, validated, strict=True):
            run.directory = folder / run.record.run_id
            run.directory.mkdir(parents=True)
            (run.directory / "curves.csv").write_text(f"updates,val/energy_distance\n100,9\n300,{value}\n")
        runs += side
    return runs


def test_rates_that_validation_cannot_tell_apart_vary_the_verdict_and_are_named(tmp_path):
    plain = {0.001: (3.0, (1.0, 1.1, 1.2)), 0.002: (9.0, (1.1, 1.3, 1.5)), 0.004: (50.0, (7.0, 7.1, 7.2))}
    spectral = {0.001: (3.0, (5.0, 5.1, 5.2)), 0.002: (3.1, (1.0, 1.1, 1.2)), 0.004: (50.0, (7.0, 7.1, 7.2))}
    runs = at_rates(tmp_path, plain, {})
    runs += at_rates(tmp_path, spectral, {"model.critic_norm": "spectral"})
    decision = judged("spectral-norm", runs)
    assert decision.raw == EQUIVALENT
    assert (
        "Each at the best of its 3 learning rates, chosen by validation: 0.002 and 0.001 (the least tried). "
        "Not told apart from the chosen rates: 0.002 (plain critic)."
    ) in measured_text(decision)
    assert decision.kept_shares["another learning rate"] == 0, (
        "at the other rate the plain critic is three times as far"
    )
    (variant,) = [one for one in decision.parts[0].variants() if one.name == "another learning rate"]
    assert variant.outcome.estimate == pytest.approx(3.1 / 9, rel=0.1)


def test_a_latency_says_whether_it_was_timed_in_turns_and_under_what_load():
    runs = masks(1.9, 0.02, seeds=5)
    alone = judged("coupling-autoregressive", runs)
    assert "Not re-timed: each run timed itself." in measured_text(alone)
    assert badge(alone).startswith("○")
    for run in runs:
        run.record.sampling.session = "s"
        run.record.sampling.load = Load(before=2.6, after=2.2, cores=2)
        run.record.sampling.throughput_by_batch = {"1": 1.0, "64": 1 / run.record.sampling.latency_seconds}
    timed = judged("coupling-autoregressive", runs)
    assert "Timed in turns on 2 cores; load 2.6 before, 2.2 after." in measured_text(timed)
    assert not timed.hollow
    assert timed.kept_kinds["another batch size"] == {"batches of 64": 1}
    for run in runs:
        run.record.sampling.throughput_by_batch = {"64": run.record.sampling.latency_seconds}
    turned = judged("coupling-autoregressive", runs)
    assert turned.kept_kinds["another batch size"] == {"batches of 64": 0}, "the order turns"


def test_a_latency_beside_a_verdict_says_the_same():
    runs = restricted(parameters=6000)
    for run in runs:
        run.record.sampling.latency_seconds = 0.01 * (1 + run.record.seed)
    (beside,) = [part for part in judged("discrete-continuous", runs).parts if not part.decides]
    assert beside.sentence.endswith("Not re-timed: each run timed itself.")


def with_scores(runs: list[Run], folder: Path) -> list[Run]:
    """Give runs log-likelihoods of a hundred examples, one of them extremely bad under the narrow field."""
    for run in runs:
        run.directory = folder / run.record.run_id
        run.directory.mkdir()
        values = np.random.default_rng(run.record.seed).normal(-80, 0.1, 100)
        if run.record.provenance.config["model"]["channels"] == [8, 8]:
            values[3] = -5000 - run.record.seed
        np.savez(run.directory / "likelihood.npz", values=values, indices=np.arange(100))
    return runs


def test_a_likelihood_is_varied_by_the_weight_of_its_worst_examples(tmp_path):
    (measured, _) = judged("field-width", with_scores(widths(3.0, 0.03), tmp_path)).deciding
    found = {one.name: one.outcome for one in measured.variants() if one.kind == "tail of the examples"}
    assert found.keys() == {"median of the examples", "without the worst 1 % of the examples"}
    assert all(abs(outcome.estimate) < 0.01 for outcome in found.values()), (
        "without the one bad example both are alike"
    )
    assert not any(outcome.significant for outcome in found.values())
    assert measured.outcome.estimate == pytest.approx(1, abs=0.02), "the recorded bits/dim decide"


def test_sharpness_is_varied_by_the_spectrum_scales_seeds_and_margins():
    decision = judged("vae-blurry", with_metric(blur(0.4), "sharpness/spectrum", lambda run: 1.0))
    assert decision.kept_kinds["sharpness/spectrum"] == {"sharpness/spectrum": 0}
    assert all("sharpness/spectrum" in {one.name for one in part.variants()} for part in decision.deciding)
    assert decision.kept_kinds["a seed left out"]["a seed left out"] > 0.8
    assert decision.kept_kinds["another test"]["raw values"] == 1
    flows = judged("flows-parallel-sharp", coupling(0.87, spread=0.005))
    assert flows.verdict == SUPPORTED
    assert flows.kept_shares == {"raw values": 1, "a seed left out": 1, "within 0.9 to 1.11": 0}
    noise = judged("flows-parallel-sharp", coupling(1.0, distance=80.0))
    assert noise.verdict == UNDECIDED
    assert noise.kept_shares["raw values"] == 1, "the verdict on noise is undecided by any test"


def test_the_signs_of_instability_are_varied_one_by_one():
    runs = rates(0.1, 0.1, seeds=6, oscillation=(0.6, 0.1))
    with_metric(runs, "kid/x", distance)
    decision = judged("gan-unstable", runs)
    assert decision.verdict == SUPPORTED
    shares = decision.kept_shares
    assert shares["a sign left out"] == pytest.approx(2 / 3), "only oscillation is significant"
    assert shares["a seed left out"] == 1
    assert {
        "ranks and Brown-Forsythe",
        "recall below 0.1",
        "at the best rates alone",
        "kid/x",
    } <= shares.keys()
    assert decision.kept_kinds["another count of collapse"].keys() > {"recall below 0.02"}
    for run in runs:
        bare = run.record.model == "gan" and run.record.provenance.config["training"]["ema"] == 0
        run.record.metrics["recall/x"] = Metric(0.07 if bare else 0.9, "1", "estimate", n=100)
        run.record.stability.oscillations = {}
    collapsed = judged("gan-unstable", runs)
    assert collapsed.verdict == UNDECIDED
    assert collapsed.kept_shares["recall below 0.1"] == 0, "all seeds of the GAN have a recall below 0.1"


def test_a_spread_over_seeds_is_also_that_of_other_distances():
    def wild_if_bare(run):
        bare = run.record.model == "gan" and run.record.provenance.config["training"]["ema"] == 0
        return float(np.exp((3.0 if bare else 0.01) * run.record.seed))

    runs = rates(0.1, 0.1, seeds=6)
    with_metric(runs, "kid/x", wild_if_bare)
    decision = judged("gan-unstable", runs)
    assert decision.verdict == UNDECIDED
    assert decision.kept_shares["kid/x"] == 0, "by KID the spread of the bare GAN is surely larger"


def test_fewer_parameters_at_matched_quality_are_varied_by_other_distances():
    runs = restricted(parameters=6000)
    with_metric(runs, "coverage/x", lambda run: 0.1 + distance(run) / 4)
    with_metric(runs, "kid/x", distance)
    decision = judged("discrete-continuous", runs)
    assert decision.verdict == SUPPORTED
    assert decision.kept_kinds["kid"] == {"kid/x": 1}
    assert decision.kept_kinds["coverage"] == {"coverage/x": 0}, "more is nearer"


def test_truncation_is_varied_by_density_and_coverage():
    def study(density: float, coverage: float) -> list[Run]:
        runs = gan(precision=around(0.6), recall=around(0.6, salt=1), seeds=5)
        truncated = {"precision": around(0.9, salt=2), "recall": around(0.3, salt=3)}
        runs += gan({"model.truncation": 0.7}, seeds=5, **truncated)
        for run in runs:
            whole = run.record.provenance.config["model"]["truncation"] == 1.0
            jitter = 1 + run.record.seed / 100 * (1 if whole else 1.1)
            for name, ratio in (("density/x", density), ("coverage/x", coverage)):
                value = 0.5 * jitter * (1 if whole else ratio)
                run.record.metrics[name] = Metric(value, "1", "estimate", n=100)
        return runs

    assert judged("truncation", study(1.4, 0.5)).kept_shares["density and coverage"] == 1
    assert judged("truncation", study(0.6, 0.5)).kept_shares["density and coverage"] == 0


def test_what_a_gan_does_with_more_updates_stands_beside_its_instability():
    runs = rates(0.1, 0.1, seeds=5) + gan({"training.lr": 0.002, "model.truncation": 0.7}, distance=4.0)
    brief = [run for run in runs if run.record.family == "gan"]
    for run in runs:
        run.record.provenance.config["training"]["updates"] = 300
        run.record.cost.updates = 300
        run.record.metrics["recall/x"] = Metric(0.01 if run in brief else 0.9, "1", "estimate", n=100)
    longer = {"training.lr": 0.002, "training.updates": 1000}
    more = gan(longer, seeds=5, distance=around(3), recall=around(0.7))
    more += gan({**BARE, **longer}, seeds=5, distance=around(3), recall=around(0.02))
    for run in more:
        run.record.cost.updates = 1000
    decision = judged("gan-unstable", runs + more)
    beside = [part.sentence for part in decision.parts if part.sentence.startswith("Seeds of")]
    assert len(beside) == 2
    assert beside[1].startswith(
        "Seeds of gan with a run that collapsed or diverged: at 300 updates (rates 0.0005,"
    )
    assert "at 1,000 updates (rates 0.002) 0 of 5 (0 %" in beside[1]
    assert "at 1,000 updates (rates 0.002) 5 of 5 (100 %" in beside[0]
    assert "the runs had 300 updates" in evidence_text(decision)
    assert not any("Seeds of" in part.sentence for part in judged("gan-unstable", runs).parts)
