"""A small sweep, and a launcher whose workers are forks of this process, which has imported torch already."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import threading
import time

import torch
from forks import Fork, redirect
from rich.console import Console

from zoo.cli import main
from zoo.config import run_dir_override
from zoo.processes import PARENT
from zoo.sweep import run_sweep
from zoo.sweep.launcher import Local

SWEEP = """
overrides:
  data: moons
  data.train: 200
  data.val: 40
  data.test: 40
  logger: none
  trainer: cpu
  model.hidden: [8]
  training.updates: 50
  training.batch_size: 16
  training.validations: 5
  evaluation.samples: 20
  evaluation.latency_repeats: 1
  evaluation.throughput_repeats: 1
  evaluation.throughput_batches: [4]
  evaluation.time_limit_seconds: 0.01
grid: {model: [realnvp, maf], seed: [0]}
"""


class Forked(Local):
    """A launcher that forks this process; ``disturb(directory)`` runs in each worker before its run."""

    def __init__(self, disturb=None):
        self.disturb, self.workers = disturb, []

    def start(self, overrides, directory, threads):
        parent = os.getpid()

        def job():
            os.setsid()
            os.environ[PARENT] = str(parent)
            os.environ["ZOO_QUIET"] = "1"
            with (directory / "log.txt").open("a") as log:
                redirect(log.fileno(), log.fileno())
            if self.disturb is not None:
                self.disturb(directory)
            return main(["train", *overrides, run_dir_override(directory)])

        self.workers.append(Fork(job))
        return self.workers[-1]


def run_small_sweep(place, launcher=None, **settings):
    """Run ``mine.yaml`` in ``place`` (:data:`SWEEP` if there is none); return its jobs and its output."""
    output = io.StringIO()
    file = place / "mine.yaml"
    if not file.exists():
        place.mkdir(exist_ok=True)
        file.write_text(SWEEP)
    console = Console(file=output, width=200)
    launcher = launcher or Forked()
    _, jobs = run_sweep(str(file), out=place / "runs", console=console, launcher=launcher, **settings)
    return jobs, output.getvalue()


def results(place):
    """Return the contents of a sweep's records, checkpoints and curves that do not depend on the clock."""
    runs = {}
    for file in sorted((place / "runs").glob("*/record.json")):
        record = json.loads(file.read_text())
        for clocked in ("sampling", "stability"):
            record.pop(clocked)
        record["cost"] = {
            k: record["cost"][k] for k in ("parameters", "updates", "images_seen", "batch_size")
        }
        record["provenance"] = {
            k: v
            for k, v in record["provenance"].items()
            if k not in ("finished_at", "git_commit", "hardware", "segments")
        }
        weights = torch.load(file.parent / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        rows = [line.split(",") for line in (file.parent / "curves.csv").read_text().splitlines()]
        clock = [i for i, name in enumerate(rows[0]) if name.endswith("_seconds")]
        curves = [[v for i, v in enumerate(row) if i not in clock] for row in rows]
        runs[record["run_id"]] = record, {k: v.tolist() for k, v in weights.items()}, curves
    return runs


def until(condition, seconds=60):
    """Wait until a condition holds; fail after some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def once_under_way(directory, act):
    """Start a thread in a worker that calls ``act()`` when the run has a checkpoint."""

    def wait():
        until((directory / "checkpoints/last.ckpt").exists)
        act()

    threading.Thread(target=wait, daemon=True).start()


def during_update(number, act):
    """Call ``act()`` within an update of the training, before the optimiser's step."""
    step, calls = torch.optim.Adam.step, itertools.count(1)

    def acting(self, *args, **kwargs):
        if next(calls) == number:
            act()
        return step(self, *args, **kwargs)

    torch.optim.Adam.step = acting


def killed(directory):
    once_under_way(directory, lambda: os.kill(os.getpid(), signal.SIGKILL))


def terminated(directory):
    """Send SIGTERM between two validations."""
    during_update(25, lambda: os.kill(os.getpid(), signal.SIGTERM))
