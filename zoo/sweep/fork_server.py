"""A process that has imported what a run needs and starts each job as a fork of itself.

Importing torch, Lightning and what they import takes a job as long as hundreds of updates of a small model. A
fork of a process that has done so starts at once, and the jobs share its memory. The sweep writes requests to
the server and reads replies, a line of JSON each. The server ends when the sweep does, even after SIGKILL,
and its jobs notice. Jobs on GPUs are not forked: CUDA does not survive it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.processes import PARENT

IMPORTED = (
    "zoo.cli.train",
    "zoo.cli.report",
    "zoo.running.run",
    "torch._dynamo",
    "torchdiffeq",
    "sklearn.datasets",
)
PACE = 0.1  # seconds between two looks for jobs that have ended


class ForkServer:
    """The sweep's side: starts the process, sends it requests and keeps what it replies.

    Args:
        environment: that of the process; its jobs may have another one.
        imported: modules that it imports before the first job.
    """

    def __init__(self, environment: Mapping[str, str], imported: Sequence[str] = IMPORTED) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from zoo.sweep.fork_server import main; main()", *imported],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches only the sweep, which ends its jobs
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.codes: dict[int, int] = {}
        self._unread = b""
        self._jobs = 0

    @property
    def lives(self) -> bool:
        """Whether it can start jobs."""
        return self.process.poll() is None

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> ForkedJob:
        """Start ``zoo ARGUMENTS`` in an environment; what it prints is appended to a file."""
        self._jobs += 1
        self.ask(
            job=self._jobs, start=list(arguments), environment=dict(environment), log=str(log.absolute())
        )
        return ForkedJob(self, self._jobs)

    def ask(self, **request: Any) -> None:
        """Send a request; a server that has ended takes none."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()

    def code(self, job: int) -> int | None:
        """Return the exit code of a job, ``-N`` after signal ``N``; None while it runs."""
        assert self.process.stdout is not None
        alive = self.lives  # before the last words are read
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.process.stdout.fileno(), 65536):
                self._unread += part
        *lines, self._unread = self._unread.split(b"\n")
        self.codes |= {int(k): code for line in lines for k, code in json.loads(line).items()}
        return self.codes.get(job, None if alive else -int(signal.SIGKILL))


class ForkedJob:
    """A job that is a fork of the server, the leader of the process group of its ranks."""

    queued = mps = False

    def __init__(self, server: ForkServer, job: int) -> None:
        self.server, self.job = server, job

    def poll(self) -> int | None:
        return self.server.code(self.job)

    def interrupt(self) -> None:
        self.server.ask(job=self.job, signal=int(signal.SIGTERM))  # the run writes a checkpoint first

    def kill(self) -> None:
        self.server.ask(job=self.job, signal=int(signal.SIGKILL))
        while self.poll() is None:
            time.sleep(PACE / 10)


def _requests() -> Iterator[dict[str, Any] | None]:
    """Yield each request from standard input, and None whenever there has been none for a while."""
    unread = b""
    while True:
        if not select.select([0], [], [], PACE)[0]:
            yield None
            continue
        part = os.read(0, 65536)
        if not part:
            return
        *lines, unread = (unread + part).split(b"\n")
        yield from map(json.loads, lines)


def serve(imported: Sequence[str]) -> dict[str, Any] | None:
    """Serve requests until the sweep ends, then return None; a fork returns its own request at once."""
    jobs: dict[int, int] = {}  # by the id of the process
    replies = os.dup(1)
    os.dup2(2, 1)  # an import that prints does not disturb the replies
    for name in imported:
        importlib.import_module(name)
    for request in _requests():
        if request is not None and "start" in request:
            if not (pid := os.fork()):
                os.close(replies)
                return request
            jobs[pid] = request["job"]
        elif request is not None:
            for pid, job in jobs.items():
                if job == request["job"]:
                    _send(pid, request["signal"])
        while jobs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            reply = {jobs.pop(pid): os.waitstatus_to_exitcode(status)}
            os.write(replies, json.dumps(reply).encode() + b"\n")
    return None


def _send(pid: int, number: int) -> None:
    """Send a signal to a job; SIGKILL to its ranks too."""
    if number == signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):  # it has just been forked and has no group yet
            os.killpg(pid, number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def run(request: Mapping[str, Any]) -> int:
    """Run the command of a request in this fork as if it had been started alone; return its exit code."""
    os.setsid()
    with open(os.devnull, "rb") as nothing, Path(request["log"]).open("ab") as log:
        for file, descriptor in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(request["environment"] | {PARENT: str(os.getppid())})
    command = importlib.import_module("zoo.cli")  # by name, as a process of its own would start it
    code: int = command.main(request["start"])
    return code


def main() -> None:
    """Be the server, then, in each fork, a job."""
    request = serve(sys.argv[1:])
    if request is None:
        os._exit(0)  # nothing is left to do, and torch's compiler would print what it leaks in an orderly end
    sys.exit(run(request))
