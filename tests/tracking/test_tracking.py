"""Runs at W&B, offline, read back from their files; and uploaded, to a stand-in for its server."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
import yaml
from fake_wandb import Server
from test_cli import MOONS, SMALL
from wandb.util import get_core_path

from zoo.cli import main
from zoo.config import compose_run, identify
from zoo.errors import CutOff, Diverged, ZooError
from zoo.processes import lock
from zoo.record import AXES, DENSITY, SAMPLES, read
from zoo.running.run import run
from zoo.tracking import logger as tracking
from zoo.tracking.sync import segments
from zoo.training.callbacks import Curves

QUICK = ["evaluation.latency_repeats=1", "evaluation.throughput_batches=[4]",
         "evaluation.likelihood_examples=40"]  # fmt: skip
TINY = ["model=realnvp", *MOONS, "model.hidden=[8]", "model.layers=2", "logger=wandb",
        "training.log_every=2", *SMALL[1:], *QUICK]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_account(monkeypatch, tmp_path):
    leave_account(monkeypatch, tmp_path)


def leave_account(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Nobody is logged in, and wandb keeps its files here."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            patch.delenv(name)
    patch.setenv("WANDB_MODE", "offline")
    patch.setenv("WANDB_SILENT", "true")
    patch.setenv("NETRC", str(home / "no-netrc"))
    for name in ("DATA", "CACHE", "CONFIG"):
        patch.setenv(f"WANDB_{name}_DIR", str(home / "wandb-home"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing disturbed; what the others are held against."""
    place = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        leave_account(patch, place)
        run(compose_run(TINY), place / "r")
    return place / "r"


def inspect(segment: Path) -> list[dict[str, Any]]:
    """The records of a run's file, by wandb's own reader: `wandb leet inspect --json`, without its start."""
    reader = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
    done = subprocess.run(
        [*reader, "--run-file", str(segment), str(segment.parents[1])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record["item"] for record in of_kind(records, "history")]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in of_kind(records, "summary"):
        found |= record.get("update", {})
    return found


def begin(overrides: list[str], directory: Path, **settings: Any) -> list[Any]:
    """The logger of a run that does not train."""
    identity = identify(compose_run(overrides))
    return tracking.start({"name": "wandb", "project": "zoo", **settings}, identity, "abc", directory)


def written(directory: Path) -> list[dict[str, Any]]:
    (segment,) = segments(directory)
    return inspect(segment)


# What a run logs ------------------------------------------------------------------------------------------


def test_a_run_of_images(workdir):
    overrides = ["model=vae", "data=digits", "sweep=mine", "logger=wandb", *SMALL[1:], *QUICK]
    directory = workdir / identify(compose_run(overrides)).run_id
    run(compose_run(overrides), directory)
    record = json.loads((directory / "record.json").read_text())
    records = written(directory)
    (about,) = of_kind(records, "run")[:1]
    assert about["run_id"] == about["display_name"] == directory.name
    assert about["run_group"] == "mine"
    assert about["job_type"] == "vae-digits"
    tags = of_kind(records, "run")[-1]["tags"]
    assert record["family"] == "vae"
    assert sorted(tags) == sorted(["digits", "vae", f"protocol-{record['provenance']['protocol_hash']}"])
    config = about["config"]["update"]
    assert config["training"]["updates"] == 12
    assert config["config_hash"] == record["provenance"]["config_hash"]
    final = summary(records)
    assert final["status"] == "finished"
    assert final["bits_per_dim"] == record["metrics"]["bits_per_dim"]["value"]
    assert final["bits_per_dim/kind"] == "lower bound"
    last = rows(records)[-1]
    for axis in AXES:
        assert last[axis] == record["cost"][axis]
    assert last["samples._type"] == "image-file"
    assert last["histogram/samples.bins"] == last["histogram/real.bins"]
    assert sum(last["histogram/samples.values"]) == 40 * 64
    assert {a["name"]: a["type"] for a in of_kind(records, "artifact")} == {
        f"{directory.name}-record": "record",
        f"{directory.name}-checkpoint": "model",
    }
    assert of_kind(records, "exit")[0].get("exit_code", 0) == 0


def test_rows_axes_and_density(finished):
    assert read(finished).status == "finished"
    records = written(finished)
    with (finished / "curves.csv").open() as stream:
        curves = list(csv.DictReader(stream))
    logged = rows(records)
    assert [row["updates"] for row in logged] == [2, 4, 6, 8, 10, 12] == [int(c["updates"]) for c in curves]
    for row, curve in zip(logged, curves, strict=True):
        assert row["_step"] == row["updates"]
        assert row["images_seen"] == 32 * row["updates"]
        assert row["device_seconds"] == pytest.approx(float(curve["device_seconds"]), abs=1.0)
        assert row["train/loss"] == pytest.approx(float(curve["train/loss"]), rel=1e-6)
        assert "trainer/global_step" not in row
    assert logged[-1]["density._type"] == "image-file"
    assert logged[-1][tracking.BEST] == min(float(c["val/loss"]) for c in curves if c["val/loss"])
    assert sum(logged[-1]["histogram/nll.values"]) == 40, "the scored test examples"
    # the histogram of the gradient norms counts every logged one
    assert sum(logged[-1]["histogram/gradient_norm.values"]) == len(curves)
    glob = next(m for m in of_kind(records, "metric") if m.get("glob_name") == "*")
    assert glob["step_metric"] == "updates"
    record, checkpoint = of_kind(records, "artifact")
    assert {entry["path"] for entry in record["manifest"]["contents"]} == {"record.json", "curves.csv"}
    (entry,) = checkpoint["manifest"]["contents"]
    assert entry["ref"] == (finished / read(finished).provenance.checkpoint).resolve().as_uri()


def test_choosing_an_axis_and_uploading_the_checkpoint(workdir):
    (workdir / "best.ckpt").write_bytes(b"weights")
    (workdir / "curves.csv").write_text("updates,images_seen,device_seconds,val/loss\n5,50,1.5,0.25\n")
    loggers = begin([], workdir, x_axis="images_seen", upload_checkpoint=True, entity="me")
    tracking.tell_family(loggers, "flow")
    tracking.replay(loggers, workdir)
    record = _record("finished", cost={"updates": 5}, provenance={"checkpoint": "best.ckpt"})
    tracking.finish(loggers, record, workdir)
    records = written(workdir)
    glob = next(m for m in of_kind(records, "metric") if m.get("glob_name") == "*")
    assert glob["step_metric"] == "images_seen"
    (entry,) = of_kind(records, "artifact")[1]["manifest"]["contents"]
    assert "ref" not in entry
    assert entry["path"] == "best.ckpt"
    with pytest.raises(ZooError, match=r"logger\.x_axis is one of updates, images_seen, device_seconds"):
        begin([], workdir, x_axis="_step")


def _record(status: str, **values: Any) -> Any:
    from zoo.record import Record

    return Record("realnvp-digits-s0-abc", "realnvp", "flow", "digits", 0, status, **values)


def test_pictures(tmp_path):
    data = np.zeros((96, 96), np.float16)
    data[0, 0] = data[95, 50] = 1
    np.savez(tmp_path / DENSITY, data=data, density=np.full((96, 96), np.inf, np.float16))
    picture = tracking.density_picture(tmp_path / DENSITY)
    assert picture.shape == (288, 2 * 288 + 6, 3)
    low, high = picture[0, 0], picture[-1, 0]
    assert (high != low).any(), "rows go from the lowest y up, a picture's from the top down"
    assert (picture[:, 294:] == high).all(), "a peak past float16 is the top of the scale"
    samples = np.array([0, 16, 16], np.uint8).reshape(3, 1, 1, 1)
    np.savez(tmp_path / SAMPLES, samples=samples, real=samples[:1], levels=17)
    counts, edges = tracking.histograms(tmp_path / SAMPLES)["samples"]
    assert counts.tolist() == [1, *[0] * 15, 2], "one bin for each level"
    assert edges[0] == -0.5


# How runs end ---------------------------------------------------------------------------------------------


def run_into(
    error: BaseException,
    update: int,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: type | None = None,
) -> None:
    """A run that meets an error once it has logged an update."""
    write = Curves.write

    def failing(self: Curves, trainer: Any, rule: Any) -> None:
        write(self, trainer, rule)
        if rule.updates == update:
            raise error

    config = compose_run(TINY)
    with monkeypatch.context() as patch:
        patch.setattr(Curves, "_write", failing)
        with pytest.raises(told or type(error)):
            run(config, directory)


def test_an_interrupted_run_is_one_run(workdir, monkeypatch):
    directory = workdir / "runs/r"
    run_into(KeyboardInterrupt(), 6, directory, monkeypatch)
    (first,) = segments(directory)
    run(compose_run(TINY), directory)
    run(compose_run(TINY), directory)  # done: nothing begins
    one, two = sorted(segments(directory))
    assert one == first
    before, after = inspect(one), inspect(two)
    ids = {of_kind(records, "run")[0]["run_id"] for records in (before, after)}
    assert ids == {identify(compose_run(TINY)).run_id}
    assert [row["updates"] for row in rows(before)] == [2, 4, 6]
    assert [row["updates"] for row in rows(after)] == [6, 8, 10, 12], "from the checkpoint at update 4 on"
    assert of_kind(before, "preempting"), "a person ended it: no failure"
    assert of_kind(before, "exit")[0]["exit_code"] == 130
    assert not of_kind(after, "preempting")
    assert of_kind(after, "exit")[0].get("exit_code", 0) == 0

    with Server() as server:
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert main(["sync"]) == 0
        assert main(["sync", "runs"]) == 0, "marked, so nothing is sent twice"
    ((run_id, uploaded),) = server.runs.items()
    assert {run_id} == ids
    assert [row["updates"] for row in uploaded.history] == [2, 4, 6, 6, 8, 10, 12]
    assert uploaded.history[2]["train/loss"] == uploaded.history[3]["train/loss"], "resumed bit for bit"
    assert uploaded.exit_codes == [130, 0]
    assert sorted(uploaded.artifacts, reverse=True) == [f"{run_id}-record", f"{run_id}-checkpoint"]
    assert uploaded.asked["groupName"]


def test_failures_are_marked(workdir, monkeypatch):
    def end(directory: Path) -> tuple[int, dict[str, Any]]:
        records = written(directory)
        assert not of_kind(records, "preempting")
        return of_kind(records, "exit")[0].get("exit_code", 0), summary(records)

    run_into(MemoryError(), 4, workdir / "cut-off", monkeypatch, CutOff)
    assert end(workdir / "cut-off")[0] == 75
    run_into(IndexError("ours"), 4, workdir / "crashed", monkeypatch)
    code, final = end(workdir / "crashed")
    assert code == 1
    assert final["reason"] == "IndexError: ours"
    assert tracking.BEST not in final
    run_into(Diverged("It went away."), 4, workdir / "diverged", monkeypatch)
    code, final = end(workdir / "diverged")
    assert (code, final["status"]) == (1, "diverged")
    with pytest.raises(ZooError):  # before there is a model
        run(compose_run([*TINY, "data.name=nothing"]), workdir / "no-data")
    code, final = end(workdir / "no-data")
    assert (code, final["status"]) == (1, "failed")


def test_trouble_with_wandb_is_not_the_runs(workdir, monkeypatch, capsys):
    loggers = begin([], workdir)
    monkeypatch.setattr(tracking, "_log_artifacts", lambda *_: 1 / 0)
    tracking.finish(loggers, _record("finished"), workdir)
    assert "its record has it" in capsys.readouterr().err
    assert of_kind(written(workdir), "exit")[0].get("exit_code", 0) == 0


KILLER = r"""
import os, signal, sys
from pathlib import Path
from zoo.cli import main
from zoo.training.callbacks import Curves

write = Curves.write

def writing(self, trainer, rule):
    if rule.updates == 4:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = file.read_bytes()
            except OSError:
                continue
            if b"wandb-core" in line and f"--pid\0{os.getpid()}\0".encode() in line:
                os.kill(int(file.parent.name), signal.SIGKILL)
                print("killed", flush=True)
    write(self, trainer, rule)

Curves.write = writing
sys.exit(main(["train", *sys.argv[1:]]))
"""


def test_a_run_outlives_the_service_of_wandb(workdir, finished):
    done = subprocess.run(
        [sys.executable, "-c", KILLER, *TINY, "hydra.run.dir=killed"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert "killed" in done.stdout
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("W&B did not take all of") == 1
    record = read(workdir / "killed")
    assert record.status == "finished"
    values, alone = ({k: m.value for k, m in r.metrics.items()} for r in (record, read(finished)))
    assert values == pytest.approx(alone, rel=1e-9)  # of two processes: sums may differ in the last bit
    one, two = (
        torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for directory in (workdir / "killed", finished)
    )
    for name, weights in one.items():
        assert torch.equal(weights, two[name]), name
    assert [row["updates"] for row in tracking.curves(workdir / "killed")] == [2, 4, 6, 8, 10, 12]


class Faulty:
    """A run at W&B that does as it is told until ``fault`` comes in between."""

    project, id = "zoo", "this-run"

    def __init__(self, fault: Any) -> None:
        self.fault, self.asked = fault, 0

    def log(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        self.fault()


@pytest.mark.parametrize("fault", [lambda: 1 / 0, lambda: sys.exit(1), lambda: time.sleep(30)])
def test_one_fault_of_wandb_is_told_and_the_last(fault, monkeypatch, capsys):
    monkeypatch.setattr(wandb, "teardown", lambda _: time.sleep(30))
    monkeypatch.setattr(tracking, "_CLOSE", 0.05)
    at_wandb = Faulty(fault)
    logger = tracking.Wandb(at_wandb)
    logger.ask(lambda run: run.log(), 0.05)
    logger.log_metrics({"train/loss": 1.0}, step=3)
    tracking.tell_family([logger], "flow")
    tracking.break_off([logger], 75)
    assert at_wandb.asked == 1
    assert capsys.readouterr().err.count("W&B did not take all of this-run") == 1


def test_a_machine_where_wandb_does_not_work(workdir, monkeypatch, capsys):
    def broken(**_: Any) -> None:
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(wandb, "init", broken)
    assert begin([], workdir) == []
    assert "W&B does not work here (Connection lost)" in capsys.readouterr().err


def test_an_unreachable_server_leaves_an_offline_run(workdir, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_MODE")
    with Server(refuses=True) as server:
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        wandb.teardown()  # it reads the environment once
        loggers = begin([], workdir)
        tracking.finish(loggers, _record("finished"), workdir)
    wandb.teardown()
    assert "kept offline, for `zoo sync`" in capsys.readouterr().err
    assert len(list(segments(workdir))) == 1


# Agents ---------------------------------------------------------------------------------------------------


def test_an_agent_chooses_the_run(workdir, monkeypatch):
    parameters = workdir / "parameters.yaml"
    parameters.write_text(yaml.safe_dump({"wandb_version": 1, "training.lr": {"value": 0.002}}))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep-1")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(parameters))
    overrides = [*TINY, "training.lr=0.002"]
    records = {}
    for name in ("agents-first", "agents-second"):  # the second asks for the same job
        monkeypatch.setenv("WANDB_RUN_ID", name)
        wandb.teardown()  # it reads the environment once, and every run of an agent is a process
        before = set(segments(workdir))
        record = run(compose_run(overrides), workdir / "runs/r")
        (segment,) = set(segments(workdir)) - before
        records[name] = inspect(segment)
    wandb.teardown()
    for name, found in records.items():
        about = of_kind(found, "run")[0]
        assert about["run_id"] == name
        assert about["sweep_id"] == about["run_group"] == "sweep-1"
        assert about["config"]["update"]["training.lr"] == 0.002
        assert [row["updates"] for row in rows(found)] == [2, 4, 6, 8, 10, 12]
        assert summary(found)["nll"] == record.metrics["nll"].value
        assert summary(found)[tracking.BEST] == summary(records["agents-first"])[tracking.BEST]


# zoo sync -------------------------------------------------------------------------------------------------


def offline(directory: Path) -> None:
    directory.mkdir(parents=True)
    tracking.finish(begin([f"seed={len(str(directory))}"], directory), _record("finished"), directory)


def test_sync_says_what_stands_in_its_way(workdir, monkeypatch, capfd):
    assert main(["sync"]) == 2
    assert "There is no directory runs" in capfd.readouterr().err
    (workdir / "runs").mkdir()
    assert main(["sync"]) == 0
    assert "Nothing waits under runs" in capfd.readouterr().out
    offline(workdir / "runs/one")
    capfd.readouterr()
    assert main(["sync"]) == 2
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "not logged in to W&B, so 1 segment of 1 run under runs" in told
    assert "wandb login" in told
    with lock(workdir / "runs/one"):
        assert main(["sync"]) == 0, "what is at work is left alone"
    assert "still at work" in capfd.readouterr().out
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    with Server(refuses=True) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert main(["sync"]) == 2
    said = capfd.readouterr()
    assert "Uploaded 0 segments" in said.out
    assert "1 segment of 1 run could not be uploaded, runs/one among them" in said.err
    (segment,) = segments(workdir / "runs")
    os.truncate(segment, segment.stat().st_size - 20)  # torn by whatever ended the run
    with Server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert main(["sync"]) == 0, "what can be read is uploaded"
        assert main(["sync"]) == 0
    assert "Nothing waits" in capfd.readouterr().out
    ((name, uploaded),) = server.runs.items()
    assert name.startswith("realnvp-digits")
    assert [row["_step"] for row in uploaded.history] == [0]
