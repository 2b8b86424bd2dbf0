"""The task of a Slurm job: it runs one rank of a run, and requeues the job that is ended too early."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from zoo.errors import CUT_OFF, STOPPED
from zoo.processes import ENDING, is_first_rank
from zoo.sweep.launcher import LOG, append_to_log, launch
from zoo.sweep.slurm_queue import last_line


@dataclass(frozen=True)
class Task:
    """The function that Slurm calls in each task of a job; it runs one rank of a run in a child process.

    When the job's time limit is near, or the job is pre-empted, the run writes a checkpoint and ends, and the
    job is put back into the queue.

    Args:
        overrides: the overrides of the run.
        directory: the run's directory, which all nodes see.
        threads: threads of arithmetic.
        requeues: largest number of times that the job is put back into the queue.
    """

    overrides: list[str]
    directory: Path
    threads: int | None
    requeues: int

    def __call__(self) -> int:
        """Run the rank and return its exit code; if the job will start again, end this process instead."""
        process: subprocess.Popen[bytes] | None = None
        received: list[int] = []

        def terminate(signum: int, frame: FrameType | None) -> None:
            received.append(signum)
            if process is not None and process.poll() is None:
                process.terminate()

        for signum in ENDING:  # in place of submitit's handler, which would not wait for the checkpoint
            signal.signal(signum, terminate)
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / LOG).open("ab") as log:
            process = launch(self.overrides, self.directory, log, self.threads or 1, rank=True)
        if received:
            process.terminate()
        code = process.wait()
        if not received or (code >= 0 and code not in STOPPED):
            return code
        if not is_first_rank():
            os._exit(0)  # another code would end the first rank (KillOnBadExit) before it requeues the job
        if not self.requeue():
            return code
        os._exit(CUT_OFF)  # no result is stored: the job starts again, or Slurm knows why it does not

    def requeue(self) -> bool:
        """Put the job back into the queue, unless Slurm does so itself.

        Returns:
            Whether the run is left to Slurm: the job is requeued or cancelled. False if the job may not start
            again, which the run's log then says.
        """
        number, restarts = _own_number(), int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        query = ["squeue", "--noheader", f"--jobs={number}", "--format=%T"]
        for pause in (0.0, 2.0, 4.0):
            time.sleep(pause)  # Slurm's controller may not answer while it pre-empts many jobs
            answer = subprocess.run(query, capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                break
        if answer.returncode == 0 and answer.stdout.strip() != "RUNNING":
            return True  # it was cancelled, or is on its way into the queue
        if restarts >= self.requeues:
            append_to_log(
                self.directory, f"Slurm's job {number} was ended by a signal, after {restarts} restarts."
            )
            return False
        answer = subprocess.run(["scontrol", "requeue", number], capture_output=True, text=True, check=False)
        if answer.returncode:
            append_to_log(
                self.directory, f"Slurm's job {number} does not start again: {last_line(answer.stderr)}"
            )
        return answer.returncode == 0


def in_slurm_job() -> bool:
    """Return whether submitit runs this process in a job of Slurm."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def _own_number() -> str:
    """Return the number of this job; in an array, that of this task alone (``ARRAY_TASK``)."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]
