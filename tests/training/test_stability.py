"""Spikes, skipped steps and oscillation agree with their definitions, in resumed runs too."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from fitting import fit

import zoo
from zoo.training.adversarial import Adversarial
from zoo.training.stability import Spikes, Stability, oscillation


def brute_force_spikes(values, rise):
    """Return the number of spikes by the definition, computed with NumPy on the whole sequence."""
    high = []
    for i, value in enumerate(values):
        recent = np.array(values[max(0, i - 100) : i])
        if len(recent) < 20:
            high.append(False)
            continue
        median = np.median(recent)
        deviation = 1.4826 * np.median(np.abs(recent - median))
        high.append(value - median > max(5 * deviation, rise * abs(median)))
    return sum(now and not before for before, now in zip([False, *high], high, strict=False))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rise", [0.1, 1.0])
def test_the_number_of_spikes_agrees_with_the_definition(seed, rise):
    rng = np.random.default_rng(seed)
    values = 2 * np.exp(-np.arange(600) / 200) - seed + 0.1 * rng.standard_t(2, 600)
    values[[5, 150, 151, 152, 400]] += 10
    spikes = Spikes(rise)
    for value in values:
        spikes.see(value)
    assert spikes.count == brute_force_spikes(values.tolist(), rise)
    assert spikes.count >= 2, "the row 150..152 is one, 400 another"


def test_slow_small_early_and_downward_changes_are_not_spikes():
    rng = np.random.default_rng(0)
    for values in (
        rng.normal(size=3000),
        np.linspace(0, 30, 1000) + rng.normal(size=1000),  # a steady rise
        np.ones(500),
        np.where(np.arange(500) % 50 == 0, 1.05, 1.0),  # high, but not by a tenth
        np.where(np.arange(500) == 10, 100.0, 1.0),  # within the first 20 values
        -np.abs(rng.standard_t(1, 500)),  # falls are not spikes
    ):
        spikes = Spikes(0.1)
        for value in values:
            spikes.see(float(value))
        assert spikes.count == 0
    spikes = Spikes(0.1)
    for value in [1.0] * 50 + [5.0] + [1.0] * 50 + [math.nan, math.inf, 7.0, 8.0]:
        spikes.see(value)
    assert spikes.count == 2


def test_the_state_is_valid_json_and_continues_exactly():
    rng = np.random.default_rng(3)
    values = rng.standard_t(2, 400).tolist()
    whole, first = Stability(), Stability()
    for i, value in enumerate(values):
        for stability in (whole, first):
            stability.step("critic", abs(value))
            stability.update({"train/loss": value, "train/critic_loss": -value})
            if i % 20 == 0:
                stability.validation("val/loss", i, value)
        if i in (3, 99, 250):
            kept = json.loads(json.dumps(first.state_dict()))
            first = Stability()
            first.load_state_dict(kept)
            first.load_state_dict(kept)
    assert first.report() == whole.report()
    assert whole.report().loss_spikes > 0
    assert whole.report().updates_watched == 400


def test_the_oscillation_of_curves_with_known_values():
    updates = np.arange(10, 310, 10)
    falling = np.where(updates <= 200, 3 - updates / 100, 1 - updates / 1000)
    assert oscillation(np.stack([updates, falling], 1).tolist()) == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(0)
    values = falling + 0.05 * rng.normal(size=30)
    late = updates > 200
    fitted = np.polyval(np.polyfit(updates[late], values[late], 1), updates[late])
    expected = math.sqrt(((values[late] - fitted) ** 2).sum() / (late.sum() - 2)) / np.ptp(values)
    assert oscillation(np.stack([updates, values], 1).tolist()) == pytest.approx(expected, rel=1e-10)
    assert oscillation([[1, 2.0], [2, 1.0]]) is None
    assert oscillation([[10.0, 1.0], [20.0, 0.5], [30.0, 0.2]]) is None, "one validation in the last third"
    assert oscillation([[i, 1.0] for i in range(1, 10)]) is None
    assert oscillation([]) is None
    swinging = [[float(i), float((-1) ** i)] for i in range(1, 31)]
    assert oscillation(swinging) == pytest.approx(0.5, rel=0.15)


PLANE = zoo.DataSpec((2,))


def test_spikes_of_both_players_and_a_gradient_of_nan_are_counted():
    module = Adversarial(
        zoo.build("gan", PLANE, hidden=4), updates=40, batch_size=8, critic_steps=2, clip=None, lr=1e-4,
        betas=(0.9, 0.999), schedule="cosine", ema=0.0, r1=0.0,
    )  # fmt: skip
    plain, made = module.descend, []

    def disturbed(loss, optimizer, module, player="model"):
        """Make one gradient of each player a thousand times larger, and one of the critic's not finite."""
        made.append(player)
        if (len(made), player) in ((89, "critic"), (93, "generator"), (100, "critic")):
            loss = loss * (math.nan if len(made) == 100 else 1000)
        return plain(loss, optimizer, module, player)

    module.descend = disturbed
    fit(module, torch.randn(500, 2), 40, 8)
    report = module.stability.report()
    assert made[:3] == ["critic", "critic", "generator"]
    assert report.updates_watched == 40
    assert report.gradient_spikes == 2, "before clipping, each against its own player's"
    assert report.non_finite_steps == 1, "the losses were finite, the critic's gradient was not"
    assert report.oscillation is None
    assert report.oscillation_of is None
    assert all(torch.isfinite(p).all() for p in module.model.parameters())


def test_a_resumed_run_reports_the_same_stability_as_an_uninterrupted_one(tmp_path):
    from zoo.config import compose_run
    from zoo.record import read
    from zoo.running.run import run
    from zoo.training.module import TrainingModule

    settings = [
        "model=realnvp", "data=moons", "data.train=200", "data.val=20", "data.test=20", "logger=none",
        "trainer=cpu", "model.hidden=[4]", "training.updates=60", "training.batch_size=8",
        "training.validations=12", "training.lr=0.1", "evaluation.samples=20", "evaluation.latency_repeats=1",
        "evaluation.throughput_repeats=1", "evaluation.throughput_batches=[1]",
    ]  # fmt: skip
    run(compose_run(settings), tmp_path / "whole")
    average = TrainingModule.average_weights

    def interrupt(self):
        if self.updates == 43:
            raise KeyboardInterrupt
        average(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "average_weights", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(compose_run(settings), tmp_path / "cut")
    run(compose_run(settings), tmp_path / "cut")
    whole, cut = read(tmp_path / "whole").stability, read(tmp_path / "cut").stability
    assert cut.resumed_at == 40
    assert dataclasses.replace(cut, resumed_at=None) == whole
    assert whole.updates_watched == 60
    assert whole.oscillation_of == "val/loss"
    assert 0 < whole.oscillation < 1
    assert whole.loss_spikes >= 0
    with np.load(tmp_path / "whole/likelihood.npz") as kept:
        assert -kept["values"].mean() == pytest.approx(
            read(tmp_path / "whole").metrics["nll"].value, rel=1e-5
        )
        assert kept["indices"].tolist() == list(range(20))
