"""A run that is cut off and resumed ends with the weights of an uninterrupted run, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoo.config import compose_run
from zoo.errors import CutOff
from zoo.record import read
from zoo.running.outcome import GivenUp
from zoo.running.run import run
from zoo.training.module import TrainingModule

SMALL = [
    "data=digits", "logger=none", "trainer=cpu", "training.updates=6", "training.batch_size=8",
    "training.validations=2", "evaluation.samples=20", "evaluation.likelihood_examples=8",
    "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1", "evaluation.throughput_batches=[4]",
    "evaluation.time_limit_seconds=0.01", "evaluation.pairwise_examples=50",
    "evaluation.training_examples=100",
]  # fmt: skip
# a falling rate, dropped labels, augmentation, several critic steps: all states that a checkpoint must keep
CASES = {
    "wgan_gp": ["model=wgan_gp", "model.width=4", "model.latent_dim=4", "training.schedule=cosine",
                "training.critic_steps=2"],
    "sngan": ["model=sngan", "model.width=4", "model.latent_dim=4", "model.conditional=true",
              "training.augment=[colour,translation,cutout]"],
    "diffusion": ["model=diffusion", "model.conditional=true", "model.label_dropout=0.5",
                  "model.unet.channels=4", "model.unet.dropout=0.2", "model.terms=2",
                  "model.sampler.steps=2", "model.solver.method=rk4", "model.solver.steps=1"],
    # dropout of torch, whose noise is of torch's own generator
    "nsf_coupling": ["model=nsf_coupling", "data=moons", "data.train=50", "model.steps=1", "model.hidden=8",
                     "model.dropout=0.5", "training.ema=0.9"],
}  # fmt: skip


def last(directory):
    return torch.load(directory / "checkpoints/last.ckpt", weights_only=True)


def same(a, b):
    """Return whether two nested values are equal, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_a_run_that_never_has_enough_memory_fails_at_the_third_attempt(tmp_path, monkeypatch):
    def exhaust(self):
        raise MemoryError

    monkeypatch.setattr(TrainingModule, "average_weights", exhaust)
    config = compose_run(["model=realnvp", "data=moons", "data.train=50", "model.hidden=[4]", *SMALL[1:]])
    for error in (CutOff, CutOff, GivenUp):
        with pytest.raises(error):
            run(config, tmp_path)
    record = read(tmp_path)
    assert record.status == "failed"
    assert record.reason.count("at update 1: The memory ran out") == 3
    assert record.family == "flow"


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path, monkeypatch, name):
    config = compose_run([*SMALL, *CASES[name]])
    whole = run(config, tmp_path / "whole")
    average = TrainingModule.average_weights

    def interrupt(self):
        if self.updates == 5:  # two updates after the validation, which the second process has to repeat
            raise KeyboardInterrupt
        average(self)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "average_weights", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "cut")
    assert last(tmp_path / "cut")["zoo"]["updates"] == 3
    unfinished = tmp_path / "cut/.record.json.ab12cd34"  # of a process that was killed while it wrote
    unfinished.touch()
    torch.manual_seed(99)  # a new process has another random state
    loads, load = [], torch.load

    def count(path, *args, **kwargs):
        loads.append(Path(path).name)
        return load(path, *args, **kwargs)

    def look(self):
        assert loads == ["last.ckpt"], "it is read once"
        assert ".ckpt" not in Path("/proc/self/maps").read_text(), "and not held"
        average(self)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", count)
        patch.setattr(TrainingModule, "average_weights", look)
        record = run(config, tmp_path / "cut")
    assert (record.status, record.stability.resumed_at) == ("finished", 3)
    assert not unfinished.exists()
    one, two = last(tmp_path / "whole"), last(tmp_path / "cut")
    assert one["zoo"]["weights"] == "ema"
    for part in ("state_dict", "optimizer_states"):
        assert same(one[part], two[part]), part
    assert len(one["optimizer_states"]) == (2 if "gan" in name else 1)
    counters = ("updates", "images_seen", "stability")
    assert all(same(one["zoo"][key], two["zoo"][key]) for key in counters)
    assert same(whole.metrics, record.metrics)
    assert read(tmp_path / "cut").cost.images_seen == whole.cost.images_seen
