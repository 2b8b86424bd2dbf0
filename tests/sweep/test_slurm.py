"""Sweeps through Slurm, with a controller and a node started on this machine; this needs root and is slow."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")
PACKAGES = "slurmctld slurmd slurm-client munge"
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
MISSING = [name for name in DAEMONS if shutil.which(name, path=PATH) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="Slurm's daemons are started as root"),
    pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}; apt-get install {PACKAGES}"),
]

CONFIGURATION = """
ClusterName=zoo
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
SlurmdParameters=config_overrides
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=20
MinJobAge=300
MpiDefault=none
ReturnToService=2
NodeName=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 CoresPerSocket=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=20 MaxTime=INFINITE
PartitionName=urgent Nodes=ALL PriorityTier=9 PreemptMode=OFF MaxTime=INFINITE
"""

# Slow enough to be interrupted on any machine: until Slurm starts the job again, an update takes at least
# SLEEP seconds.
SLOW = """
import os, time
from zoo.models.maf import MAF


class Slow(MAF):
    def _log_prob(self, x, context=None):
        if self.training and "SLURM_RESTART_COUNT" not in os.environ:
            time.sleep(float(os.environ.get("SLEEP", "0")))
        return super()._log_prob(x, context)
"""

SWEEP = """
overrides:
  data: moons
  data.train: 200
  data.val: 40
  data.test: 40
  logger: none
  trainer: cpu
  model: slow
  model.hidden: [8]
  model.batch_norm: false  # it leaves biases without a gradient, which then follow the rounding
  training.updates: 60
  training.batch_size: 16
  training.validations: 2
  evaluation.samples: 20
  evaluation.latency_repeats: 1
  evaluation.throughput_repeats: 1
  evaluation.throughput_batches: [4]
  evaluation.time_limit_seconds: 0.01
grid: {seed: [0]}
"""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start a Slurm of one node and yield the folder of its files; at the end stop all its processes."""
    place = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (place / name).mkdir()
    (place / "munge.key").write_bytes(os.urandom(128))
    (place / "munge.key").chmod(0o400)
    (place / "slurm.conf").write_text(CONFIGURATION.format(place=place, ports=free_ports(2)))
    environment = os.environ | {"PATH": PATH, "SLURM_CONF": str(place / "slurm.conf")}
    munged = [
        "munged", "--foreground", "--force",
        f"--socket={place}/munge.socket", f"--key-file={place}/munge.key",
        f"--log-file={place}/munge.log", f"--pid-file={place}/munge.pid", f"--seed-file={place}/munge.seed",
    ]  # fmt: skip
    started = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", environment["SLURM_CONF"])
        patch.setenv("PATH", PATH)
        try:
            for command in (munged, ["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", "localhost"]):
                output = (place / f"{command[0]}.out").open("w")
                started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
                if command is munged:
                    until((place / "munge.socket").exists, 20)
            until(lambda: "idle" in ask("sinfo", "--noheader", "--format=%T"), 60)
            yield place
        finally:
            with contextlib.suppress(Exception):
                ask("scancel", f"--user={getpass.getuser()}", "--signal=KILL", "--full")
                ask("scancel", f"--user={getpass.getuser()}")
                until(lambda: not ask("squeue", "--noheader"), 30)
            for process in reversed(started):
                process.terminate()
                process.wait(20)


def ask(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def prepare(folder):
    (folder / "slow.py").write_text(SLOW)
    (folder / "conf/model").mkdir(parents=True)
    (folder / "conf/model/slow.yaml").write_text("defaults: [maf, _self_]\n_target_: slow.Slow\n")
    (folder / "mine.yaml").write_text(SWEEP)


@pytest.fixture
def place(cluster, workdir):
    """Return a working directory with a sweep of one slow job, and empty the queue."""
    ask("scancel", f"--user={getpass.getuser()}")
    until(lambda: not in_queue(), 60)
    prepare(workdir)
    return workdir


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the results of three seeds of the sweep without Slurm."""
    place = tmp_path_factory.mktemp("undisturbed")
    prepare(place)
    process = zoo(place, "sweep", "mine.yaml", "seed=0,1,2", "--jobs=2", "-o", "runs")
    printed, _ = process.communicate(timeout=280)
    assert process.returncode == 0, printed
    return result(place / "runs")


def zoo(place, *arguments, **environment):
    """Run a command of zoo in a new process."""
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", *arguments],
        cwd=place, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | environment,
    )  # fmt: skip


def sweep(place, *overrides, out="runs", **environment):
    slurm = ["launcher=slurm", "hydra.launcher.cpus_per_task=1"]
    return zoo(place, "sweep", "mine.yaml", "-o", out, *slurm, *overrides, **environment)


def result(runs):
    """Return the contents of a sweep's records and checkpoints that do not depend on the clock."""
    contents = {}
    for file in sorted(runs.glob("*/record.json")):
        record = json.loads(file.read_text())
        weights = torch.load(file.parent / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        rows = [line.split(",") for line in (file.parent / "curves.csv").read_text().splitlines()]
        clock = [i for i, name in enumerate(rows[0]) if name.endswith("_seconds")]
        contents[record["run_id"]] = {
            "status": record["status"],
            "metrics": record["metrics"],
            "images": record["cost"]["images_seen"],
            "hash": record["provenance"]["config_hash"],
            "weights": {k: v.tolist() for k, v in weights.items()},
            "curves": [[v for i, v in enumerate(row) if i not in clock] for row in rows],
        }
    return contents


def same(runs, undisturbed, count=1):
    results = result(runs)
    return len(results) == count and all(run == undisturbed[name] for name, run in results.items())


def in_queue():
    """Return numbers and states of the waiting and running jobs."""
    return dict(line.split() for line in ask("squeue", "--noheader", "--format=%A %T").splitlines())


def under_way(runs, updates=5):
    """Wait until a run has made some updates; return its progress."""

    def look():
        for file in runs.glob("*/progress.json"):
            with contextlib.suppress(ValueError):
                if json.loads(file.read_text())["updates"] >= updates:
                    return file.parent
        return None

    return until(look)


def resumed_at(directory):
    return json.loads((directory / "record.json").read_text())["stability"]["resumed_at"]


def test_a_sweep_of_two_jobs_has_the_results_of_local_jobs(place, undisturbed):
    process = sweep(place, "seed=0,1")
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    assert "2 jobs, 0 done, 2 left" in printed
    assert printed.count("finished in") == 2
    assert same(place / "runs", undisturbed, 2)
    assert not in_queue()


def test_a_requeued_job_resumes_from_its_checkpoint(place, undisturbed):
    process = sweep(place, SLEEP="0.2")
    directory = under_way(place / "runs")
    (number,) = in_queue()
    ask("scontrol", "requeue", number)
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    assert resumed_at(directory) % 30 != 0, "between two validations: from the checkpoint that it made to end"
    assert "Ended by a signal, with a checkpoint" in (directory / "log.txt").read_text()
    assert same(place / "runs", undisturbed)


def test_a_preempted_job_goes_back_into_the_queue_and_resumes(place, undisturbed):
    process = sweep(place, SLEEP="0.2")
    directory = under_way(place / "runs")
    (number,) = in_queue()
    ask("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 5")
    until(lambda: in_queue().get(number) == "PENDING")
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    assert resumed_at(directory) % 30 != 0
    assert same(place / "runs", undisturbed)


def test_a_job_whose_time_is_over_goes_back_into_the_queue_and_resumes(place, undisturbed):
    """Slurm checks the time rarely, so the signal comes after half a minute to a minute and a half."""
    limits = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=30"]
    process = sweep(place, *limits, SLEEP="3")
    printed, _ = process.communicate(timeout=280)
    assert process.returncode == 0, printed
    (directory,) = (file.parent for file in (place / "runs").glob("*/record.json"))
    assert resumed_at(directory) > 0
    assert same(place / "runs", undisturbed)


def test_two_tasks_are_the_two_ranks_of_one_run(place, undisturbed):
    process = sweep(place, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    (pair,) = result(place / "runs").values()
    (one,) = (run for name, run in undisturbed.items() if "-s0-" in name)
    assert pair["images"] == one["images"]
    for key, value in one["weights"].items():
        torch.testing.assert_close(
            torch.tensor(pair["weights"][key]), torch.tensor(value), atol=1e-5, rtol=1e-5
        )


def test_a_killed_sweep_finds_its_jobs_again_and_submits_none_twice(place, undisturbed):
    process = sweep(place, "seed=0,1,2", SLEEP="1")
    under_way(place / "runs", 1)
    submitted = in_queue().keys()
    assert len(submitted) == 3
    process.send_signal(signal.SIGKILL)
    process.wait()
    both = [sweep(place, "seed=0,1,2") for _ in range(2)]  # started at once
    for process in both:
        while "training" not in process.stdout.readline():  # the sweep follows a job
            assert process.poll() is None
    assert in_queue().keys() <= submitted
    both[1].send_signal(signal.SIGINT)
    printed, _ = both[1].communicate(timeout=60)
    assert "go on without this sweep" in printed
    assert in_queue(), "Ctrl-C ends the sweep, not its jobs"
    printed, _ = both[0].communicate(timeout=200)
    assert both[0].returncode == 0, printed
    everything = ask("squeue", "--noheader", "--states=all", "--format=%A").split()
    assert {number for number in everything if int(number) >= min(map(int, submitted))} == submitted
    logs = [file.read_text() for file in (place / "runs").glob("*/log.txt")]
    assert [log.count(" finished") for log in logs] == [1, 1, 1], logs
    assert same(place / "runs", undisturbed, 3)


def test_submitted_jobs_need_no_sweep_and_one_that_ends_early_is_requeued_alone(place, undisturbed):
    process = sweep(place, "seed=0,1,2", "--submit", SLEEP="0.3")
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 0, printed
    assert "Submitted 3 jobs" in printed
    under_way(place / "runs")
    tasks = ask("squeue", "--array", "--noheader", "--format=%i").split()
    (array,) = {task.partition("_")[0] for task in tasks}
    until(lambda: len(list((place / "runs").glob("*/progress.json"))) == 3)
    ask("scancel", "--signal=USR2", f"{array}_1")  # as before the end of its time
    process = sweep(place, "seed=0,1,2")
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    resumed = [resumed_at(file.parent) for file in (place / "runs").glob("*/record.json")]
    assert resumed.count(None) == 2, resumed
    assert same(place / "runs", undisturbed, 3)


def test_a_cancelled_job_is_cut_off_and_the_same_command_resumes_it(place, undisturbed):
    process = sweep(place, SLEEP="0.2")
    directory = under_way(place / "runs")
    (number,) = in_queue()
    ask("scancel", number)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "CANCELLED" in printed
    assert "the same command resumes it" in printed
    process = sweep(place)
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    assert resumed_at(directory) > 0
    assert same(place / "runs", undisturbed)


def test_a_refused_job_is_an_error_of_one_sentence(place):
    process = sweep(place, "hydra.launcher.partition=nowhere")
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "zoo: Slurm refuses a job" in printed
    assert "invalid partition" in printed


def test_a_multirun_uses_slurm_too(place, undisturbed):
    plain = [f"{k}={json.dumps(v)}" for k, v in overrides_of_the_sweep().items()]
    process = zoo(
        place, "train", "-m", "launcher=slurm", "hydra.launcher.cpus_per_task=1", *plain, "seed=0,1"
    )
    printed, _ = process.communicate(timeout=250)
    assert process.returncode == 0, printed
    assert "sacct" not in printed
    assert same(place / "runs", undisturbed, 2)


def overrides_of_the_sweep():
    import yaml

    return yaml.safe_load(SWEEP)["overrides"]
