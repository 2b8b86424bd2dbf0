"""Runs of W&B's agents, and the upload of offline runs to a fake server."""

from __future__ import annotations

import os
from pathlib import Path

import wandb
import yaml
from fake_wandb import Server
from offline_wandb import TINY, begin, inspect, make_record, of_kind, rows, summary

from zoo.cli import main
from zoo.config import compose_run
from zoo.locks import lock
from zoo.running.run import run
from zoo.tracking.logger import finish
from zoo.tracking.names import BEST_LOSS
from zoo.tracking.sync import segments


def test_an_agent_chooses_the_id_and_a_finished_job_is_logged_again(workdir, monkeypatch):
    parameters = workdir / "parameters.yaml"
    parameters.write_text(yaml.safe_dump({"wandb_version": 1, "training.lr": {"value": 0.002}}))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep-1")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(parameters))
    overrides = [*TINY, "training.lr=0.002"]
    records = {}
    for name in ("agents-first", "agents-second"):  # the second agent gets the same job
        monkeypatch.setenv("WANDB_RUN_ID", name)
        wandb.teardown()  # wandb reads the environment once, and every run of an agent is a process
        before = set(segments(workdir))
        record = run(compose_run(overrides), workdir / "runs/r")
        (segment,) = set(segments(workdir)) - before
        records[name] = inspect(segment)
    wandb.teardown()
    for name, logged in records.items():
        about = of_kind(logged, "run")[0]
        assert about["run_id"] == name
        assert about["sweep_id"] == about["run_group"] == "sweep-1"
        assert about["config"]["update"]["training.lr"] == 0.002
        assert [row["updates"] for row in rows(logged)] == [2, 4, 6, 8, 10, 12]
        assert summary(logged)["nll"] == record.metrics["nll"].value
        assert summary(logged)[BEST_LOSS] == summary(records["agents-first"])[BEST_LOSS]


def make_offline_run(directory: Path) -> None:
    directory.mkdir(parents=True)
    finish(begin([f"seed={len(str(directory))}"], directory), make_record("finished"), directory)


def test_sync_uploads_once_and_explains_what_prevents_it(workdir, monkeypatch, capfd):
    assert main(["sync"]) == 2
    assert "There is no directory runs" in capfd.readouterr().err
    (workdir / "runs").mkdir()
    assert main(["sync"]) == 0
    assert "Nothing waits under runs" in capfd.readouterr().out
    make_offline_run(workdir / "runs/one")
    capfd.readouterr()
    assert main(["sync"]) == 2
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1
    assert "not logged in to W&B, so 1 segment of 1 run under runs" in errors
    assert "wandb login" in errors
    with lock(workdir / "runs/one"):
        assert main(["sync"]) == 0, "a running job is left alone"
    assert "still at work" in capfd.readouterr().out
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    with Server(refuses=True) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert main(["sync"]) == 2
    output = capfd.readouterr()
    assert "Uploaded 0 segments" in output.out
    assert "1 segment of 1 run could not be uploaded, runs/one among them" in output.err
    (segment,) = segments(workdir / "runs")
    os.truncate(segment, segment.stat().st_size - 20)  # cut off in the middle of a record
    with Server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert main(["sync"]) == 0, "the readable part is uploaded"
        assert main(["sync"]) == 0
    assert "Nothing waits" in capfd.readouterr().out
    ((name, uploaded),) = server.runs.items()
    assert name.startswith("realnvp-digits")
    assert [row["_step"] for row in uploaded.history] == [0]
