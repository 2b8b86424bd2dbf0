"""Runs at W&B that are interrupted or fail, and trouble with W&B itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from fake_wandb import Server
from offline_wandb import TINY, begin, fail_at, inspect, make_record, of_kind, rows, summary, written

from zoo.cli import main
from zoo.config import compose_run, identify
from zoo.errors import CutOff, Diverged, Interrupted, ZooError
from zoo.record import read, read_rows
from zoo.running.fit import Fit
from zoo.running.run import run
from zoo.tracking import logger as tracking
from zoo.tracking.logger import Wandb, finish, log_family, suspend
from zoo.tracking.names import BEST_LOSS
from zoo.tracking.sync import segments


def test_an_interrupted_and_resumed_run_is_one_run_at_wandb(workdir, monkeypatch):
    directory = workdir / "runs/r"
    fail_at(6, KeyboardInterrupt(), directory, monkeypatch)
    (first,) = segments(directory)
    run(compose_run(TINY), directory)
    run(compose_run(TINY), directory)  # the run has finished: nothing is logged
    one, two = sorted(segments(directory))
    assert one == first
    before, after = inspect(one), inspect(two)
    ids = {of_kind(records, "run")[0]["run_id"] for records in (before, after)}
    assert ids == {identify(compose_run(TINY)).run_id}
    assert [row["updates"] for row in rows(before)] == [2, 4, 6]
    assert [row["updates"] for row in rows(after)] == [6, 8, 10, 12], "from the checkpoint at update 4 on"
    assert of_kind(before, "preempting"), "a person ended it, so it has not failed"
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
    assert {f"{run_id}-record", f"{run_id}-checkpoint"} <= set(uploaded.artifacts)
    assert sum(name.endswith(("-record", "-checkpoint")) for name in uploaded.artifacts) == 2
    assert uploaded.values["groupName"]


def test_a_run_that_a_signal_ends_is_preempted_at_wandb(workdir, monkeypatch):
    fail_at(4, Interrupted("Ended by a signal."), workdir / "r", monkeypatch, Interrupted)
    records = written(workdir / "r")
    assert of_kind(records, "preempting")
    assert of_kind(records, "exit")[0]["exit_code"] == 130


def test_failed_runs_have_their_exit_code_status_and_reason(workdir, monkeypatch):
    def end(directory: Path) -> tuple[int, dict[str, Any]]:
        records = written(directory)
        assert not of_kind(records, "preempting")
        return of_kind(records, "exit")[0].get("exit_code", 0), summary(records)

    fail_at(4, MemoryError(), workdir / "cut-off", monkeypatch, CutOff)
    assert end(workdir / "cut-off")[0] == 75
    fail_at(4, IndexError("ours"), workdir / "crashed", monkeypatch)
    code, final = end(workdir / "crashed")
    assert code == 1
    assert final["reason"] == "IndexError: ours"
    assert BEST_LOSS not in final
    fail_at(4, Diverged("It went away."), workdir / "diverged", monkeypatch)
    code, final = end(workdir / "diverged")
    assert (code, final["status"]) == (1, "diverged")
    with pytest.raises(ZooError):  # before there is a model
        run(compose_run([*TINY, "data.name=nothing"]), workdir / "no-data")
    assert not (workdir / "no-data").exists(), "a run that is refused is not begun at W&B"
    monkeypatch.setattr(Fit, "pruned", "Pruned at update 12.")
    run(compose_run(TINY), workdir / "pruned")
    code, final = end(workdir / "pruned")
    assert (code, final["status"], final["reason"]) == (0, "pruned", "Pruned at update 12.")
    assert BEST_LOSS not in final, "it is no result of the whole budget"


def test_trouble_with_wandb_at_the_end_does_not_fail_the_run(workdir, monkeypatch, capsys):
    loggers = begin([], workdir)
    monkeypatch.setattr(wandb, "Artifact", lambda *_, **__: 1 / 0)
    finish(loggers, make_record("finished"), workdir)
    assert "its record has it" in capsys.readouterr().err
    assert of_kind(written(workdir), "exit")[0].get("exit_code", 0) == 0


KILLER = r"""
import os, signal, sys
from pathlib import Path
from zoo.cli import main
from zoo.tracking import logger
from zoo.training.callbacks import Curves

logger.CLOSE_SECONDS = 1.0
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


def test_a_run_finishes_although_the_service_of_wandb_dies(workdir, finished):
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
    assert values == pytest.approx(alone, rel=1e-9)  # two processes may round sums differently
    one, two = (
        torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for directory in (workdir / "killed", finished)
    )
    for name, weights in one.items():
        assert torch.equal(weights, two[name]), name
    assert [row["updates"] for row in read_rows(workdir / "killed")] == [2, 4, 6, 8, 10, 12]


class Faulty:
    """A W&B run whose ``log`` fails."""

    project, id = "zoo", "this-run"

    def __init__(self, fault: Any) -> None:
        self.fault, self.calls = fault, 0

    def log(self, *_: Any, **__: Any) -> None:
        self.calls += 1
        self.fault()


@pytest.mark.parametrize("fault", [lambda: 1 / 0, lambda: sys.exit(1), lambda: time.sleep(30)])
def test_after_one_failure_wandb_is_not_called_again(fault, monkeypatch, capsys):
    monkeypatch.setattr(wandb, "teardown", lambda _: time.sleep(30))
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 0.05)
    at_wandb = Faulty(fault)
    logger = Wandb(at_wandb)
    logger.call(lambda run: run.log(), 0.05)
    logger.log_metrics({"train/loss": 1.0}, step=3)
    log_family([logger], "flow")
    suspend([logger], 75)
    assert at_wandb.calls == 1
    assert capsys.readouterr().err.count("W&B did not take all of this-run") == 1


def test_a_run_finishes_without_wandb_if_wandb_does_not_work(workdir, monkeypatch, capsys):
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
        wandb.teardown()  # wandb reads the environment once
        loggers = begin([], workdir)
        finish(loggers, make_record("finished"), workdir)
    wandb.teardown()
    assert "kept offline, for `zoo sync`" in capsys.readouterr().err
    assert len(list(segments(workdir))) == 1
