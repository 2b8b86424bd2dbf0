"""A mistake that shows before the first update leaves nothing; a run that is done says so."""

from __future__ import annotations

import inspect
import json
import shutil

import lightning.pytorch as pl
import numpy as np
import pytest
import yaml
from small_runs import MOONS, SMALL

from zoo.cli import main
from zoo.config import compose_run
from zoo.data.module import DataModule
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.record import read
from zoo.running.check import check_model_given, check_run, check_section
from zoo.running.run import run
from zoo.running.spec import RunSpec

TINY = [
    "logger=none", "trainer=cpu", "training.updates=2", "training.batch_size=8", "training.validations=1",
    "model=made", "model.hidden=[4]", "evaluation.samples=8", "evaluation.time_limit_seconds=0.01",
    "evaluation.likelihood_examples=8", "evaluation.throughput_batches=[2]", "evaluation.latency_repeats=1",
]  # fmt: skip
RUN = ["hydra.run.dir=runs/it", *TINY]
OWN = """
import torch


class Mine(torch.nn.Module):
    family, likelihood = "flow", "exact"

    def __init__(self, spec):
        super().__init__()
        self.dim, self.mean = spec.dim, torch.nn.Parameter(torch.zeros(spec.dim))

    def log_prob(self, x):
        return torch.distributions.Normal(self.mean, 1.0).log_prob(x).sum(1)

    def sample(self, n):
        return self.mean + torch.randn(n, self.dim)
"""


@pytest.fixture
def table(workdir):
    """Return a function that writes a table and returns the overrides that train on it."""

    def write(seed=0, name="t.csv"):
        np.savetxt(workdir / name, np.random.default_rng(seed).normal(size=(100, 2)), delimiter=",")
        return ["data=table", f"data.path={name}"]

    return write


@pytest.mark.parametrize(
    "slip",
    [
        ["training.lr=1e-3x"],
        ["model.hidden=oops"],
        ["evaluation.samples=many"],
        ["data=table", "data.path=nothing.csv"],
        ["trainer.strategy=fsdp"],
        ["training.validate_samples=1"],
        ["training.batch_size=9", "training.accumulate=2"],  # shows when training is set up
    ],
    ids=" ".join,
)
def test_a_slip_leaves_no_record_and_no_directory(workdir, slip, capsys):
    assert main(["train", *RUN, *MOONS, *slip]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert "The record is in" not in errors[-1]
    assert not list(workdir.iterdir())


@pytest.mark.parametrize(
    ("slip", "instead"),
    [
        ("+trainer.max_epochs=1", "trainer.max_epochs in zoo; the budget is training.updates="),
        ("+trainer.fast_dev_run=true", "trainer.fast_dev_run in zoo; the budget is training.updates="),
        ("trainer.max_steps=2", "trainer.max_steps in zoo; the budget is training.updates="),
        ("++trainer.max_time='00:00:01:00'", "training.max_seconds="),
        ("+trainer.limit_train_batches=2", "training.updates="),
        ("+trainer.limit_val_batches=0", "training.validations="),
        ("+trainer.gradient_clip_val=1", "training.clip="),
        ("+trainer.accumulate_grad_batches=2", "training.accumulate="),
        ("+trainer.logger=false", "logger="),
        ("+trainer.inference_mode=true", "trainer.inference_mode in zoo"),
        ("+trainer.foo=1", "setting of trainer called 'foo'"),
        ("+foo=1", "foo is not a section"),
        ("+foo.bar=1", "foo is not a section"),
        ("+launcher.bar=1", "`# @package _global_`"),
        ("+sweep.bar=1", "sweep is the name"),
    ],
)
def test_a_setting_that_zoo_does_not_take_is_refused_with_the_one_that_does(workdir, capsys, slip, instead):
    assert main(["train", *RUN, *MOONS, slip]) == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert instead in sentence
    assert not list(workdir.iterdir())


def test_a_name_that_a_section_uses_is_taken(workdir):
    assert main(["train", *RUN, *MOONS, "+width=3", "model.hidden=[${width}]"]) == 0
    assert read("runs/it").provenance.config["model"]["hidden"] == [3]


def test_all_of_lightnings_other_settings_are_refused():
    taken = {"accelerator", "devices", "num_nodes", "strategy", "precision", "timeout_min"}
    harmless = {"deterministic", "benchmark", "detect_anomaly"}
    names = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"} - taken - harmless
    assert len(names) > 25
    settings = dict(compose_run(["trainer=cpu"]).trainer)
    for name in sorted(names):
        with pytest.raises(ZooError, match=rf"There is no setting trainer\.{name} in zoo; "):
            check_section("trainer", settings | {name: None})
    check_section("trainer", settings | {"deterministic": True, "benchmark": False})


def test_a_slip_leaves_the_files_of_an_existing_directory(workdir):
    (workdir / "runs/it").mkdir(parents=True)
    (workdir / "runs/it/mine.txt").write_text("kept")
    assert main(["train", *RUN, *MOONS, "model.hidden=oops"]) == 2
    assert {file.stem for file in (workdir / "runs/it").iterdir()} - {".lock"} == {"mine"}


def test_a_run_that_is_done_says_so_and_is_made_anew_on_request(workdir, capsys):
    assert main(["train", *RUN, *MOONS]) == 0
    assert "already done" not in capsys.readouterr().err
    at = read("runs/it").provenance.finished_at
    checkpoint = (workdir / "runs/it/checkpoints/last.ckpt").stat().st_mtime_ns
    assert main(["train", *RUN, *MOONS]) == 0
    done = f"it finished on {at[:10]} at {at[11:16]} (UTC); --again makes it anew."
    assert f"zoo: This run is already done, nothing was trained: {done}" in capsys.readouterr().err
    assert main(["train", *RUN, *MOONS, "trainer.devices=foo"]) == 2
    assert "trainer.devices" in capsys.readouterr().err
    (workdir / "runs/it/notes.txt").write_text("mine")
    for arguments in (["--again", *RUN, *MOONS], [*RUN, *MOONS, "--again"]):
        assert main(["train", *arguments]) == 0
        assert "already done" not in capsys.readouterr().err
        new = (workdir / "runs/it/checkpoints/last.ckpt").stat().st_mtime_ns
        assert new != checkpoint
        checkpoint = new
    assert (workdir / "runs/it/notes.txt").exists()
    assert read("runs/it").stability.resumed_at is None


def test_a_refused_repetition_keeps_the_record(workdir):
    assert main(["train", *RUN, *MOONS]) == 0
    before = (workdir / "runs/it/record.json").read_bytes()
    assert main(["train", *RUN, *MOONS, "trainer.strategy=fsdp", "--again"]) == 2
    assert (workdir / "runs/it/record.json").read_bytes() == before


def test_other_data_are_not_evaluated(table, workdir, capsys):
    assert main(["train", *RUN, *table(0)]) == 0
    before = (workdir / "runs/it/record.json").read_bytes()
    table(1)
    assert main(["evaluate", "runs/it"]) == 2
    assert "are not those that the run in runs/it was trained on" in capsys.readouterr().err
    assert (workdir / "runs/it/record.json").read_bytes() == before
    table(0)
    assert main(["evaluate", "runs/it"]) == 0


def test_data_with_another_fingerprint_alone_are_not_evaluated(workdir, capsys):
    assert main(["train", *RUN, *MOONS]) == 0
    record = read(workdir / "runs/it")
    record.provenance.data.fingerprint = "0" * len(record.provenance.data.fingerprint)
    record.write(workdir / "runs/it")
    assert main(["evaluate", "runs/it"]) == 2
    assert "(other values, sizes or splits)" in capsys.readouterr().err


UNITS = np.random.default_rng(0).normal(size=(100, 3))
OTHERS = {
    "units of columns": [UNITS * [2, 1, 4], "a,b,c,k"],
    "columns": [UNITS, "a,c,b,k"],
}


@pytest.mark.parametrize("part", OTHERS)
def test_equal_values_in_other_units_or_of_other_columns_are_not_evaluated(workdir, capsys, part):
    def write(x, header):
        np.savetxt(workdir / "t.csv", x, delimiter=",", header=header[: 2 * x.shape[1] - 1], comments="")

    write(UNITS, "a,b,c,k")
    assert main(["train", *RUN, "data=table", "data.path=t.csv"]) == 0
    before = (workdir / "runs/it/record.json").read_bytes()
    write(*OTHERS[part])
    assert main(["evaluate", "runs/it"]) == 2
    assert f"(other {part})" in capsys.readouterr().err
    assert (workdir / "runs/it/record.json").read_bytes() == before


def test_other_labels_or_classes_are_not_evaluated(workdir, capsys):
    def write(labels):
        rows = [f"{a},{b},{label}" for (a, b), label in zip(UNITS[:, :2].tolist(), labels, strict=True)]
        (workdir / "t.csv").write_text("\n".join(["a,b,k", *rows]))

    kinds = np.random.default_rng(1).integers(0, 2, 100)
    write(kinds)
    own = ["data=table", "data.path=t.csv", "data.label=k"]
    assert main(["train", *RUN, *own]) == 0
    for labels, part in (
        (1 - kinds, "labels"),
        (kinds + 1, "classes"),
        (np.arange(100) % 5, "classes and labels"),
    ):
        write(labels)
        assert main(["evaluate", "runs/it"]) == 2
        assert f"(other {part})" in capsys.readouterr().err
    write(kinds)
    file = workdir / "runs/it/record.json"  # as older records are: without hashes of the labels
    old = yaml.safe_load(file.read_text())
    del old["provenance"]["data"]["labels"]
    file.write_text(json.dumps(old))
    assert main(["evaluate", "runs/it"]) == 0
    write(1 - kinds)
    assert main(["evaluate", "runs/it"]) == 2


def test_data_that_differ_in_the_test_split_alone_are_other_data(workdir, capsys):
    generator = np.random.default_rng(0)
    splits = {split: generator.normal(size=(40, 2)) for split in ("train", "val", "test")}
    np.savez(workdir / "t.npz", **splits)
    assert main(["train", *RUN, "data=table", "data.path=t.npz"]) == 0
    np.savez(workdir / "t.npz", **splits | {"test": splits["test"] + 1})
    assert main(["evaluate", "runs/it"]) == 2
    assert "are not those" in capsys.readouterr().err


def test_data_that_have_moved_are_found_by_their_new_path(table, workdir, monkeypatch):
    assert main(["train", *RUN, *table(0)]) == 0
    (workdir / "elsewhere").mkdir()
    monkeypatch.chdir(workdir / "elsewhere")
    assert main(["evaluate", "../runs/it"]) == 0
    shutil.move(workdir / "t.csv", workdir / "elsewhere/new name.csv")
    assert main(["evaluate", "../runs/it"]) == 2
    assert main(["evaluate", "../runs/it", "data.path='new name.csv'"]) == 0


def test_a_run_is_resumed_with_moved_data_and_on_other_devices(table, workdir):
    config = compose_run([*TINY, *table(0)])
    run(config, workdir / "it")
    shutil.move(workdir / "t.csv", workdir / "new.csv")
    (workdir / "it/record.json").unlink()
    moved = compose_run([*TINY, "data=table", "data.path=new.csv", "trainer=auto"])
    assert run(moved, workdir / "it").stability.resumed_at == 2


def test_a_directory_made_before_content_counted_is_still_recognised(table, workdir):
    overrides = [*TINY, *table(0)]
    run(compose_run(overrides), workdir / "it")
    file = workdir / "it/config.yaml"
    old = yaml.safe_load(file.read_text())
    old["data"] |= {"path": "/somewhere/t.csv", "content": [1, 5000, 1795994099865676028]}
    old["trainer"] |= {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}
    old["choices"]["data"] = "table:t"
    file.write_text(yaml.safe_dump(old))
    run(compose_run(overrides), workdir / "it")
    with pytest.raises(ZooError, match=r"other settings \(another training\.lr\)"):
        run(compose_run([*overrides, "training.lr=0.5"]), workdir / "it")


def test_other_data_in_the_same_directory_are_refused(table, workdir):
    run(compose_run([*TINY, *table(0)]), workdir / "it")
    with pytest.raises(ZooError, match=r"other settings \(other data\)"):
        run(compose_run([*TINY, *table(1)]), workdir / "it")


def test_changed_code_of_a_model_is_another_run(workdir, monkeypatch, capsys):
    (workdir / "conf/model").mkdir(parents=True)
    (workdir / "conf/model/mine.yaml").write_text("_target_: own_flow.Mine\n")
    (workdir / "own_flow.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(workdir))
    train = ["train", "model=mine", *MOONS, *SMALL]
    assert main(train) == 0
    (first,) = (workdir / "runs").iterdir()
    (workdir / "own_flow.py").write_text(OWN.replace("Normal", "Laplace"))
    assert main(["evaluate", str(first)]) == 2
    assert "The code of own_flow has changed" in capsys.readouterr().err
    assert main(train) == 0
    assert len(list((workdir / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("model", "setting"),
    [("glow", "model.levels=2"), ("gaussian", "training.lr=7"), ("gaussian", "training.clip=1")],
)
def test_a_setting_without_effect_is_refused_before_training_but_not_in_a_sweep(
    workdir, capsys, model, setting
):
    """A sweep's settings are shared by jobs of other models and data."""
    overrides = [f"model={model}", *MOONS, setting, "logger=none", "trainer=cpu", "hydra.run.dir=runs/it"]
    assert main(["train", *overrides]) == 2
    assert f"does not read {setting.partition('=')[0]}" in capsys.readouterr().err
    assert not (workdir / "runs").exists()
    job = RunSpec.of(compose_run([*overrides, "sweep=mine"]))
    check_run(job)
    check_model_given(job, DataSpec((2,)))


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_rank_reads_all_data_for_the_record(tmp_path, monkeypatch, rank):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    described, describe = [], DataModule.describe
    monkeypatch.setattr(DataModule, "describe", lambda self: described.append(self) or describe(self))
    monkeypatch.setattr("zoo.running.run.check_model_given", stop)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    with pytest.raises(Stop):
        run(compose_run(["model=maf", "data=moons", "logger=none", "trainer=cpu"]), tmp_path / "run")
    assert len(described) == 1 - rank
