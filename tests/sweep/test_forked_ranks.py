"""A sweep's job of two processes whose first rank is a fork of the fork server."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from forked import SWEEP, run_small_sweep, until

from zoo.record import Attempts, read
from zoo.sweep.fork_server import ForkedJob
from zoo.sweep.launcher import Local

TEXT = SWEEP.replace("model: [realnvp, maf]", "model: [maf]").replace("50", "40")
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "model.batch_norm=false"]
ONE = ["model.batch_norm=false"]


class Following(Local):
    """The launcher of this machine with its real fork server; ``act`` gets every job that it starts."""

    def __init__(self, act=None):
        super().__init__([], jobs=1, forks=True)
        self.act, self.jobs_started = act, []

    def start(self, overrides, directory, threads):
        job = super().start(overrides, directory, threads)
        assert isinstance(job, ForkedJob)
        self.jobs_started.append((job, directory))
        if self.act is not None:
            self.act(self, directory)
        return job


def weights(directory):
    return torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def children(pid):
    """Return the ids of the child processes of a process."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


@pytest.mark.slow
def test_a_forked_job_of_two_ranks_trains_like_one_process_and_survives_the_loss_of_a_rank(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.yaml").write_text(TEXT)
    (alone,), _ = run_small_sweep(tmp_path / "one", extra=ONE)
    launcher = Following()

    def kill_a_rank(launcher, directory):
        import threading

        def wait_and_kill():
            (server,) = launcher.fork_servers.values()
            until((directory / "checkpoints/last.ckpt").exists, 120)
            (job,) = children(server.process.pid)
            (rank,) = children(job)
            os.kill(rank, signal.SIGKILL)

        threading.Thread(target=wait_and_kill, daemon=True).start()

    (job,), output = run_small_sweep(tmp_path / "two", Following(kill_a_rank), extra=TWO)
    assert job.state == "cut off", output
    assert Attempts(job.directory).attempts[-1].end in ("cut off", "killed")
    (job,), output = run_small_sweep(tmp_path / "two", launcher, extra=TWO)
    assert job.state == "finished", output
    record = read(job.directory)
    assert record.run_id == read(alone.directory).run_id
    assert [segment.processes for segment in record.provenance.segments] == [2, 2]
    assert record.stability.resumed_at
    for key, value in weights(alone.directory).items():
        torch.testing.assert_close(weights(job.directory)[key], value, atol=1e-5, rtol=1e-4)
    (server,) = launcher.fork_servers.values()
    assert not children(server.process.pid), "no process of the job is left"
