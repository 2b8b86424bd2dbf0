"""Commands and jobs in forks of this process: real processes that need not import torch again.

A fresh interpreter takes three seconds to import torch and Lightning. A fork has them already, and still has
a process id, signals, an environment, output and a working directory of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from hydra.core.global_hydra import GlobalHydra

from zoo.cli import main

COMMAND = [sys.executable, "-m", "zoo"]
start_process = subprocess.Popen


class Fork:
    """A forked process, with the part of ``subprocess.Popen`` and of zoo's workers that is used of it."""

    queued = mps = False

    def __init__(self, function: Callable[[], int]) -> None:
        self.pid, self.returncode = os.fork(), None
        if self.pid == 0:
            code = 1
            with contextlib.suppress(BaseException):
                torch.set_num_threads(1)
                code = function()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.005)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def interrupt(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
        self.wait()


def redirect(output: int, errors: int) -> None:
    """Write the output and the errors of this process to two open files."""
    os.dup2(output, 1), os.dup2(errors, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115


def run_forked(arguments: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``zoo`` with these arguments in a fork; return its exit code and what it printed."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:

        def command() -> int:
            os.chdir(cwd)
            os.environ.update(environment)
            redirect(output.fileno(), errors.fileno())
            return main(arguments)

        code = Fork(command).wait()
        printed = [file.seek(0) or file.read() for file in (output, errors)]
    return subprocess.CompletedProcess(["zoo", *arguments], code, *printed)


def start_forked(arguments, env=None, stdout=None, stderr=None, start_new_session=False, **settings):
    """Stand in for ``subprocess.Popen``: start ``python -m zoo`` as a fork, everything else as it is."""
    if list(arguments)[:3] != COMMAND:
        if env is not None:
            settings["env"] = env
        return start_process(
            arguments, stdout=stdout, stderr=stderr, start_new_session=start_new_session, **settings
        )

    def job() -> int:
        if start_new_session:
            os.setsid()
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        GlobalHydra.instance().clear()  # of the multirun whose job this is
        if stdout is not None:
            redirect(stdout.fileno(), stdout.fileno() if stderr == subprocess.STDOUT else 2)
        return main(list(arguments[3:]))

    return Fork(job)


class ForkHere:
    """Stands in for a sweep's fork server: its jobs are forks of this process."""

    lives = True

    def __init__(self, environment) -> None:
        pass

    def start(self, arguments, environment, log: Path) -> Fork:
        with log.open("ab") as output:
            return start_forked(
                [*COMMAND, *arguments], environment, output, subprocess.STDOUT, start_new_session=True
            )
