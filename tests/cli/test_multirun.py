"""The launchers of Hydra, Lightning and torchrun, as a user starts them: real processes, so slow."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest
import torch

LIMIT = 800  # seconds of a command, which may start one process after another on a busy machine
pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT + 100)]

SMALL = [
    "model=maf", "data=moons", "data.train=200", "data.val=40", "data.test=40", "logger=none",
    "training.updates=12", "training.batch_size=32", "training.validations=3", "evaluation.samples=40",
    "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1", "evaluation.time_limit_seconds=0.1",
]  # fmt: skip
DDP = ["trainer=ddp", "trainer.accelerator=cpu"]


def command(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "zoo", *arguments],
        cwd=cwd, text=True, capture_output=True, env=os.environ | environment, check=False, timeout=LIMIT,
    )  # fmt: skip


def records(place):
    return sorted((json.loads(p.read_text()) for p in place.rglob("record.json")), key=lambda r: r["run_id"])


def weights(place):
    (file,) = place.rglob("last.ckpt")
    return torch.load(file, weights_only=True)["state_dict"]


def left_behind(place):
    """Return the ids of the processes whose command names a directory of a run."""
    processes = subprocess.run(["pgrep", "-f", str(place)], capture_output=True, text=True, check=False)
    return processes.stdout.split()


def until(condition, seconds=120):
    """Wait until a condition holds; fail after some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.mark.parametrize("launcher", ["local", "joblib", "submitit_local"])
def test_every_launcher_starts_a_process_for_each_job(workdir, launcher):
    if launcher != "local":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    jobs = ["-m", f"launcher={launcher}", *SMALL, *DDP, "trainer.devices=1,2", "model=maf,pixelcnn_pp"]
    jobs += [
        "hydra.sweep.subdir=${hydra.job.num}"
    ]  # PixelCNN++ refuses data that are no images; the number of devices makes no other run
    done = command("train", *jobs, cwd=workdir)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("this job did not finish") == 2
    ended = records(workdir)
    assert [r["status"] for r in ended] == ["finished", "finished"], "what is refused leaves no record"
    assert len({r["run_id"] for r in ended}) == 1
    one, two = (r["metrics"]["nll"]["value"] for r in ended)
    assert one == pytest.approx(two, rel=1e-4)


FAULTY = '''
import os
from zoo.models.maf import MAF


class Faulty(MAF):
    """A model that fails on the second rank, some updates after the start."""

    calls = 0

    def _log_prob(self, x, context=None):
        self.calls += 1
        if self.calls == 8 and os.environ.get("LOCAL_RANK") == "1":
            raise ValueError("rank one has had enough")
        return super()._log_prob(x, context)
'''


def test_a_rank_that_fails_ends_the_job_with_one_error(workdir):
    (workdir / "faulty.py").write_text(FAULTY)
    (workdir / "conf/model").mkdir(parents=True)
    (workdir / "conf/model/faulty.yaml").write_text("_target_: faulty.Faulty\n")
    place = workdir / "runs/it"
    done = command("train", *SMALL, "model=faulty", *DDP, f"hydra.run.dir={place}", cwd=workdir)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("zoo: ")]
    (error,) = (line for line in lines if "is your own" not in line)
    assert "rank one has had enough" in error
    (record,) = records(workdir)
    assert record["status"] == "failed"
    assert "rank one has had enough" in record["reason"]
    assert not left_behind(place)


def test_ranks_end_with_their_job(workdir):
    place = workdir / "runs/gone"
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", "train", *SMALL, *DDP, "training.updates=100000",
         f"hydra.run.dir={place}"],
        cwd=workdir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until((place / "progress.json").exists)
        assert len(left_behind(place)) >= 2, "both ranks train"
    finally:
        process.kill()
        process.wait()
    until(lambda: not left_behind(place))


def test_torchrun_on_two_nodes_trains_like_one_process(workdir):
    # batch normalisation leaves biases without a gradient, which then follow the rounding
    small = [*SMALL, "model.batch_norm=false"]
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node_rank", str(node),
             "--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", str(port), "-m", "zoo",
             "train", *small, *DDP, "trainer.devices=1", "trainer.num_nodes=2", "hydra.run.dir=two"],
            cwd=workdir, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for node in range(2)
    ]  # fmt: skip
    for node in nodes:
        _, errors = node.communicate(timeout=LIMIT)
        assert node.returncode == 0, errors
    assert command("train", *small, "trainer=cpu", "hydra.run.dir=one", cwd=workdir).returncode == 0
    one, two = weights(workdir / "one"), weights(workdir / "two")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-5, rtol=1e-5)


def test_a_run_trains_in_half_precision_with_compilation(workdir):
    done = command("train", *SMALL, *DDP, "trainer.precision=bf16-mixed", cwd=workdir)
    assert done.returncode == 0, done.stderr
    done = command("train", *SMALL, "trainer=cpu", "training.compile=true", "training.updates=3", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert [r["status"] for r in records(workdir)] == ["finished", "finished"]
