"""Tests that a run's evaluation depends on one checkpoint, the evaluation's seed and the training seed."""

from __future__ import annotations

import importlib.metadata
import shutil

import numpy as np
import pytest
import torch

import zoo
from zoo import factory
from zoo.cli import main
from zoo.config import compose_run, to_dict
from zoo.errors import ZooError
from zoo.evaluation.protocol import sample_seed
from zoo.record import Hardware, read
from zoo.running.data import prepare_data
from zoo.running.judge import reevaluate
from zoo.running.run import run

SMALL = [
    "data=digits", "model=maf", "model.layers=1", "model.hidden=[64]", "logger=none", "trainer=cpu",
    "training.updates=2", "training.batch_size=8", "training.validations=2", "evaluation.samples=40",
    "evaluation.likelihood_examples=8", "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1",
    "evaluation.throughput_batches=[4]", "evaluation.training_examples=50",
    "evaluation.pairwise_examples=50", "evaluation.time_limit_seconds=0.01",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("roles") / "run"
    run(compose_run(SMALL), directory)
    return directory


@pytest.fixture
def trained(finished, tmp_path):
    """Return a copy of a finished run, which a test may change."""
    return shutil.copytree(finished, tmp_path / "run")


def judged(directory, *overrides):
    """Return metrics, likelihoods and samples of a run with the same weights and other overrides."""
    record = read(directory)
    record.provenance.overrides = [*SMALL, *overrides]
    record.write(directory)
    metrics = reevaluate(directory).metrics
    return metrics, np.load(directory / "likelihood.npz"), np.load(directory / "samples.npz")["samples"]


def test_only_settings_of_the_evaluation_may_change_after_training(trained, capsys):
    before = read(trained)
    for refused in ("training.updates=5", "evaluation.samples"):
        assert main(["evaluate", str(trained), refused]) == 2
        assert f"'{refused}'" in capsys.readouterr().err
    assert main(["evaluate", str(trained), "evaluation.sampels=9"]) == 2
    assert "evaluation.samples" in capsys.readouterr().err
    assert read(trained) == before
    assert main(["evaluate", str(trained), "evaluation.samples=35"]) == 0
    after = read(trained)
    assert after.metrics["fd/digits-cnn"].n == 35
    assert after.provenance.config["evaluation"]["samples"] == 35
    for name in ("protocol_hash", "config_hash", "config_hash_without_seed"):
        assert getattr(after.provenance, name) != getattr(before.provenance, name)
    again = reevaluate(trained)  # according to the record
    assert again.provenance.judged_again.versions["torch"] == importlib.metadata.version("torch")
    assert again.provenance.protocol_hash == after.provenance.protocol_hash
    assert again.metrics["fd/digits-cnn"].n == 35
    assert run(compose_run(SMALL), trained) == again, "the training command finds the run finished"
    with pytest.raises(ZooError, match="other settings"):
        run(compose_run([*SMALL, "seed=5"]), trained)


def test_only_runs_trained_to_the_end_are_judged(trained):
    def ended(status, updates=2):
        file = trained / "checkpoints/last.ckpt"
        checkpoint = torch.load(file, weights_only=True)
        checkpoint["zoo"]["updates"] = updates
        torch.save(checkpoint, file)
        record = read(trained)
        record.status, record.reason = status, "for a test"
        record.write(trained)
        return record

    for status, updates in (("diverged", 2), ("failed", 1)):
        record = ended(status, updates)
        with pytest.raises(ZooError, match=rf"has {status} before its training ended \(for a test\)"):
            reevaluate(trained)
        assert read(trained) == record
    ended("failed")  # for example during the evaluation
    assert reevaluate(trained).status == "finished"


def test_the_best_checkpoint_is_judged_in_every_column(trained, monkeypatch):
    for name, change in (("best", 0.1), ("last", 0.2)):
        file = trained / f"checkpoints/{name}.ckpt"
        checkpoint = torch.load(file, weights_only=True)
        for key, value in checkpoint["state_dict"].items():
            if value.is_floating_point():
                checkpoint["state_dict"][key] = value + change
        torch.save(checkpoint, file)
    restored, restore = [], factory.restore
    monkeypatch.setattr(factory, "restore", lambda *given: restored.append(given) or restore(*given))
    record = reevaluate(trained)
    assert len(restored) == 1, "the same model for likelihood, samples, speed and diagnostics"
    assert record.provenance.checkpoint == "checkpoints/best.ckpt"
    best, last = (zoo.load(trained / f"checkpoints/{name}.ckpt") for name in ("best", "last"))
    likelihoods = np.load(trained / "likelihood.npz")
    test = prepare_data(to_dict(compose_run(SMALL).data)).splits["test"][
        torch.from_numpy(likelihoods["indices"]).long()
    ]
    with torch.no_grad():
        values = [model.log_prob(test.float()) for model in (best, last)]
    assert likelihoods["values"] == pytest.approx(values[0].numpy(), rel=1e-4)
    assert abs(values[1] - values[0]).max() > 0.01
    assert record.metrics["nll"].value == pytest.approx(-float(values[0].mean()), rel=1e-4)
    samples = np.load(trained / "samples.npz")["samples"]
    assert np.array_equal(samples, best.sample(len(samples), seed=sample_seed(0, 0)).numpy())


def test_seeds_have_independent_samples_and_the_same_test_examples(trained):
    metrics, likelihoods, samples = judged(trained)
    again, _, samples_again = judged(trained)
    assert again == metrics
    assert np.array_equal(samples, samples_again)
    others, likelihoods_again, drawn = judged(trained, "seed=7")  # the same weights
    for name in ("nll", "bits_per_dim"):
        assert others[name] == metrics[name]
    assert np.array_equal(likelihoods["indices"], likelihoods_again["indices"])
    assert np.array_equal(likelihoods["values"], likelihoods_again["values"])
    assert others["fd/digits-cnn"].value != metrics["fd/digits-cnn"].value
    first, second = (x.reshape(len(x), -1) - x.mean() for x in (samples, drawn))
    first, second = (x - np.concatenate([first, second]).mean(0) for x in (first, second))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
    _, other, drawn = judged(trained, "evaluation.seed=1")
    assert not np.array_equal(likelihoods["indices"], other["indices"]), "other test examples"
    assert not np.array_equal(samples, drawn)
    both = [
        dict(zip(found["indices"].tolist(), found["values"].tolist(), strict=True))
        for found in (likelihoods, other)
    ]
    assert all(
        both[1][index] == pytest.approx(both[0][index], rel=1e-5) for index in both[0].keys() & both[1].keys()
    )


def test_a_run_can_be_judged_again_on_a_gpu(trained, monkeypatch):
    seen = []
    monkeypatch.setattr("zoo.running.judge.judge_run", lambda *given: seen.append(given[3].type))
    monkeypatch.setattr("zoo.running.provenance.hardware", Hardware)
    monkeypatch.setattr("zoo.running.provenance.gpu_libraries", dict)
    for gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        reevaluate(trained)
    record = read(trained)
    record.provenance.overrides = ["trainer=auto" if o == "trainer=cpu" else o for o in SMALL]
    record.write(trained)
    reevaluate(trained)
    assert seen == ["cpu", "cpu", "cuda"]
