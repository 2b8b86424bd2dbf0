"""A run that is cut off and resumed ends with the weights of an uninterrupted run, bit for bit."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
import torch
from forks import Fork

from zoo.config import compose_run, identify
from zoo.errors import CutOff, Interrupted
from zoo.record import Attempts, read
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
    # couplings or masked layers as one operation, which rounds differently from the layers one by one
    "realnvp": ["model=realnvp", "data=moons", "data.train=50", "model.hidden=[50,50]",
                "training.ema=0.9"],
    "maf": ["model=maf", "data=moons", "data.train=50", "model.hidden=[16,16]", "training.ema=0.9"],
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
        assert kwargs["mmap"] is True, "its tensors are mapped"
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
    assert record.cost.images_seen == whole.cost.images_seen
    assert record.cost.fast_paths == whole.cost.fast_paths


TINY = ["model=realnvp", "data=moons", "data.train=50", "model.hidden=[4]", *SMALL[1:]]


def slow_writes(patch, seconds):
    """Let every write of a checkpoint last for some seconds, half of them before its first byte."""
    save = torch.save

    def slow(*arguments):
        time.sleep(seconds / 2)
        save(*arguments)
        time.sleep(seconds / 2)

    patch.setattr(torch, "save", slow)


def test_a_run_that_is_killed_during_writes_ends_like_an_uninterrupted_one(tmp_path):
    config = compose_run([*TINY, "training.updates=32", "training.validations=16", "training.ema=0.9"])
    whole = run(config, tmp_path / "whole")
    place = tmp_path / "killed"
    files = [place / "checkpoints" / name for name in ("last.ckpt", "best.ckpt")]
    chance = random.Random(0)
    before, kills = 0, 0

    def train():
        with pytest.MonkeyPatch.context() as patch:
            slow_writes(patch, 0.06)
            run(config, place)
        return 0

    while True:
        job = Fork(train)
        while job.poll() is None and newest(files[0]) == before:  # as long as it goes on, it is no failure
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.12))
        if job.poll() is not None:
            break
        job.kill()
        kills += 1
        assert newest(files[0]) > before
        before = newest(files[0])
        updates = [torch.load(file, weights_only=True)["zoo"]["updates"] for file in files]
        assert 0 < updates[1] <= updates[0]
    assert job.wait() == 0
    assert kills >= 4
    record = read(place)
    assert record.status == "finished"
    one, two = last(tmp_path / "whole"), last(place)
    assert same(one["state_dict"], two["state_dict"])
    assert same(one["optimizer_states"], two["optimizer_states"])
    assert same(whole.metrics, record.metrics)
    assert {file.name for file in (place / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}


def newest(file):
    """Return a file's time stamp in nanoseconds; 0 if there is none."""
    return os.stat(file).st_mtime_ns if file.exists() else 0


@pytest.mark.parametrize("end", ["signal", "signal at a validation", "memory", "interrupt"])
def test_whatever_ends_training_waits_for_the_write_under_way(tmp_path, monkeypatch, end):
    average = TrainingModule.average_weights
    at = 3 if end == "signal at a validation" else 4

    def stop(self):
        average(self)
        if self.updates == at:
            if end == "memory":
                raise MemoryError
            if end == "interrupt":
                raise KeyboardInterrupt
            self.signalled = True

    monkeypatch.setattr(TrainingModule, "average_weights", stop)
    slow_writes(monkeypatch, 1.0)
    error = {"memory": CutOff, "interrupt": KeyboardInterrupt}.get(end, Interrupted)
    with pytest.raises(error) as raised:
        run(compose_run(TINY), tmp_path)
    assert last(tmp_path)["zoo"]["updates"] == (4 if end == "signal" else 3)
    assert ("update 4" if end == "signal" else "") in str(raised.value)
    assert not list((tmp_path / "checkpoints").glob(".*"))
    (attempt,) = Attempts(tmp_path).attempts
    assert attempt.end == ("cut off" if end == "memory" else "interrupted")


def test_a_disk_that_is_full_in_the_background_cuts_a_run_off_at_once(tmp_path, monkeypatch):
    fsync, average, made = os.fsync, TrainingModule.average_weights, []

    def fail(stream):
        if "last.ckpt" in os.readlink(f"/proc/self/fd/{stream}") and made:
            raise OSError(28, "No space left on device")
        fsync(stream)

    def count(self):
        made.append(self.updates)
        time.sleep(0.2)
        average(self)

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(TrainingModule, "average_weights", count)
    with pytest.raises(CutOff, match="disk is full"):
        run(compose_run([*TINY, "training.updates=60", "training.validations=2"]), tmp_path)
    assert made[-1] < 40, "not at the next validation"
    assert not (tmp_path / "record.json").exists()


def test_a_signal_claims_no_checkpoint_that_the_disk_had_no_room_for(tmp_path, monkeypatch):
    average, fsync = TrainingModule.average_weights, os.fsync

    def signal(self):
        average(self)
        self.signalled = self.updates == 4

    def fail(stream):
        if "last.ckpt" in os.readlink(f"/proc/self/fd/{stream}"):
            raise OSError(28, "No space left on device")
        fsync(stream)

    monkeypatch.setattr(TrainingModule, "average_weights", signal)
    slow_writes(monkeypatch, 0.2)
    with pytest.raises(CutOff, match="update 4"):
        run(compose_run(TINY), tmp_path / "room")
    monkeypatch.setattr(os, "fsync", fail)
    (tmp_path / "full" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CutOff, match="disk is full"):
        run(compose_run([*TINY, "training.validations=1"]), tmp_path / "full")


def test_writing_beside_training_is_no_other_run():
    runs = [compose_run([*TINY, f"trainer.async_checkpoints={value}"]) for value in ("true", "false")]
    assert len({identify(config).config_hash for config in runs}) == 1
