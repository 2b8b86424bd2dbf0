"""Sweeps: a list of runs, each in a process of its own, none done twice. Imports no torch."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table

from zoo.config import Identity, compose_run, identify, run_dir_override, shipped
from zoo.errors import ZooError, unknown
from zoo.record import RECORD, Record, read

# Left by a launcher in the environment, these would make a job believe that it is one rank of another job.
_RANK_VARIABLES = {
    *("LOCAL_RANK", "RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("PL_GLOBAL_SEED", "PL_SEED_WORKERS"),
}


@dataclass
class Job:
    """One run of a sweep."""

    overrides: list[str]
    identity: Identity
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None
    state: str = "waiting"
    reason: str = ""
    started: float = 0.0
    seconds: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)


def find(name: str) -> Path:
    """The file of a sweep: a path, ``./sweeps/NAME.yaml``, or a shipped one.

    Raises:
        ZooError: none of them; the nearest names are offered.
    """
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise ZooError(f"There is no sweep file {name}.")
    folders = [Path.cwd() / "sweeps", shipped("sweeps")]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise unknown("sweep", name, {file.stem for folder in folders for file in folder.glob("*.yaml")})


def expand(sweep: dict[str, Any], extra: Sequence[str]) -> list[list[str]]:
    """The overrides of every job of a sweep.

    ``overrides`` go to every job, ``grid`` (key: list) spans a product, ``list`` names single jobs as
    mappings, ``when`` (``"model=gan"``: mapping) adds to the jobs that have that override. ``extra`` comes
    from the command line: it replaces a grid's axis of the same key, and otherwise wins over everything.

    Raises:
        ZooError: a key that a sweep does not have, or a grid that is not lists.
    """
    allowed = {"description", "jobs", "overrides", "grid", "list", "when"}
    for key in sweep:
        if key not in allowed:
            raise unknown("sweep setting", key, allowed)
    fixed = dict(text.partition("=")[::2] for text in extra)
    grid: dict[str, Any] = dict(sweep.get("grid") or {})
    for key in [*grid, *(k for k, v in fixed.items() if "," in v and v[0] not in "[{'\"" and k not in grid)]:
        if key in fixed:  # several values on the command line span an axis, known to the sweep or new
            grid[key] = [v for v in fixed.pop(key).split(",") if v]
        if not isinstance(grid[key], list) or not grid[key]:
            raise ZooError(f"The grid of a sweep holds lists; '{key}' has {grid[key]!r}.")
    points = (
        [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())] if grid else []
    )
    points += [dict(point) for point in sweep.get("list") or []]
    if not points:
        points = [{}]
    jobs = []
    for point in points:
        settings = dict(sweep.get("overrides") or {}) | point
        for condition, more in (sweep.get("when") or {}).items():
            key, _, value = condition.partition("=")
            if str(settings.get(key)) == value:
                settings |= more
        settings |= fixed
        jobs.append([f"{key}={_text(value)}" for key, value in settings.items()])
    return jobs


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return json.dumps(value) if isinstance(value, bool | list | dict) else str(value)


def plan(name: str, extra: Sequence[str], out: Path | None) -> tuple[list[Job], Path, dict[str, Any]]:
    """The jobs of a sweep, each with its identity and its directory."""
    file = find(name)
    try:
        sweep = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise ZooError(f"The sweep {file} is not valid YAML: {' '.join(str(error).split())}.") from None
    root = (out or Path("runs") / file.stem).absolute()
    jobs: dict[str, Job] = {}
    for overrides in expand(sweep, extra):
        overrides = [*overrides, f"sweep={file.stem}"]
        identity = identify(compose_run(overrides))
        jobs.setdefault(identity.run_id, Job(overrides, identity, root / identity.run_id))
    return list(jobs.values()), root, sweep


def launch(
    overrides: Sequence[str], directory: Path, log: IO[bytes] | None = None, threads: int | None = None
) -> Any:
    """Start one run in a fresh process; it never shares an interpreter, a device or a process group."""
    environment = {k: v for k, v in os.environ.items() if k not in _RANK_VARIABLES}
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "zoo", "train", *overrides, run_dir_override(directory)]
    if log is not None:
        environment["ZOO_QUIET"] = "1"  # the sweep shows progress, from progress.json
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
    )


def sweep(
    name: str,
    extra: Sequence[str] = (),
    *,
    out: Path | None = None,
    parallel: int | None = None,
    dry_run: bool = False,
    retry_failed: bool = False,
    console: Console | None = None,
) -> tuple[Path, list[Job]]:
    """Run what is not done of a sweep; returns its directory and its jobs.

    Args:
        name: a sweep (see :func:`find`).
        extra: overrides for every job.
        out: where the runs go; ``runs/NAME`` by default.
        parallel: jobs at a time; the sweep's own ``jobs``, or 1.
        dry_run: only print the plan.
        retry_failed: run failed jobs again.
    """
    console = console or Console()
    jobs, root, settings = plan(name, extra, out)
    for job in jobs:
        record = _record(job)
        if record is not None and not (record.status == "failed" and retry_failed):
            job.state, job.reason = record.status, record.reason or ""
    left = [job for job in jobs if job.state == "waiting"]
    console.print(
        f"Sweep [bold]{root.name}[/]: {len(jobs)} jobs, {len(jobs) - len(left)} done, {len(left)} left; "
        f"runs in {_short(root)}"
    )
    if dry_run:
        for job in jobs:
            console.print(f"  {job.state:9} zoo train {' '.join(job.overrides)}", highlight=False)
        return root, jobs
    count = max(1, parallel or int(settings.get("jobs", 1)))
    if left:
        for job in left:
            (job.directory / RECORD).unlink(missing_ok=True)  # a failed one that is tried again
        _work(jobs, left, min(count, len(left)), console)
    return root, jobs


def _record(job: Job) -> Record | None:
    if not (job.directory / RECORD).exists():
        return None
    try:
        return read(job.directory)
    except ZooError:
        return None  # damaged: run again


def _work(jobs: list[Job], left: list[Job], count: int, console: Console) -> None:
    """Keep ``count`` jobs going until none is left; on an interrupt stop them all and keep what they have."""
    threads = max(1, (os.cpu_count() or 1) // count)
    waiting: list[Job] = list(left)
    running: list[Job] = []
    say = _Plain(jobs, console) if not console.is_terminal else _Screen(jobs, console)
    with say:
        try:
            while waiting or running:
                while waiting and len(running) < count:
                    job = waiting.pop(0)
                    _start(job, threads)
                    running.append(job)
                time.sleep(0.2)
                for job in list(running):
                    _look(job)
                    if job.process is not None and job.process.poll() is not None:
                        running.remove(job)
                        _close(job)
                        say.ended(job)
                say.update()
        except BaseException:
            for job in running:
                assert job.process is not None
                job.process.send_signal(signal.SIGINT)
            for job in running:
                assert job.process is not None
                try:
                    job.process.wait(10)
                except subprocess.TimeoutExpired:
                    job.process.kill()
            raise


def _start(job: Job, threads: int) -> None:
    job.directory.mkdir(parents=True, exist_ok=True)
    (job.directory / "progress.json").unlink(missing_ok=True)
    job.log = (job.directory / "log.txt").open("ab")
    job.process = launch(job.overrides, job.directory, job.log, threads)
    job.state, job.started = "starting", time.monotonic()


def _look(job: Job) -> None:
    job.seconds = time.monotonic() - job.started
    try:
        job.progress = json.loads((job.directory / "progress.json").read_text())
        job.state = job.progress["phase"]
    except (OSError, ValueError, KeyError):
        pass


def _close(job: Job) -> None:
    assert job.process is not None
    assert job.log is not None
    job.log.close()
    code = job.process.returncode
    record = _record(job)
    if record is not None:
        job.state, job.reason = record.status, record.reason or ""
    elif code < 0:
        job.state = "cut off"
        job.reason = f"killed by {signal.Signals(-code).name}; the same command resumes it"
    else:  # it died before it could write its own record
        lines = [
            line for line in (job.directory / "log.txt").read_text(errors="replace").splitlines() if line
        ]
        job.state, job.reason = "failed", lines[-1] if lines else f"exit code {code}"
        identity = job.identity
        Record(
            identity.run_id, identity.model, "unknown", identity.data, identity.seed, "failed", job.reason,
            provenance={
                "config": identity.config,
                "config_hash": identity.config_hash,
                "config_hash_without_seed": identity.config_hash_without_seed,
            },
        ).write(job.directory)  # fmt: skip


def describe(progress: dict[str, Any]) -> str:
    """A run's progress in one line."""
    parts = [f"update {progress['updates']:,}/{progress['budget']:,}", f"epoch {progress['epoch']:g}"]
    if progress.get("loss") is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress.get("seconds_left") is not None:
        parts.append(f"{progress['seconds_left']:.0f} s left")
    return " · ".join(parts)


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


class _Plain:
    """Progress where there is no terminal: a line when something ends, and for each job now and then."""

    def __init__(self, jobs: list[Job], console: Console, every: float = 8.0) -> None:
        self.jobs, self.console, self.every, self.told = jobs, console, every, time.monotonic()

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ended(self, job: Job) -> None:
        done = sum(j.state in ("finished", "diverged", "failed", "cut off") for j in self.jobs)
        tail = f": {job.reason}" if job.reason else ""
        self._line(
            f"[{done}/{len(self.jobs)}] {job.identity.run_id} {job.state} in {job.seconds:.0f} s{tail}"
        )

    def update(self) -> None:
        if time.monotonic() - self.told < self.every:
            return
        self.told = time.monotonic()
        for job in self.jobs:
            if job.process is not None and job.process.poll() is None:
                detail = describe(job.progress) if job.progress else ""
                self._line(f"  {job.identity.run_id}: {job.state} {detail}")

    def _line(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Screen:
    """Progress on a terminal: a table of the jobs that redraws itself."""

    def __init__(self, jobs: list[Job], console: Console) -> None:
        self.jobs, self.console = jobs, console
        self.live = Live(self._table(), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> _Screen:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def ended(self, job: Job) -> None:
        colour = {"finished": "green", "diverged": "yellow"}.get(job.state, "red")
        self.live.console.print(
            f"[{colour}]{job.state:9}[/] {job.identity.run_id} [dim]{job.seconds:.0f} s[/] {job.reason}"
        )

    def update(self) -> None:
        self.live.update(self._table())

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        done = sum(job.state in ("finished", "diverged", "failed", "cut off") for job in self.jobs)
        table.add_row(
            "[bold]sweep[/]", _bar(done / max(1, len(self.jobs))), f"{done} of {len(self.jobs)} jobs"
        )
        for job in self.jobs:
            if job.process is not None and job.process.poll() is None:
                p = job.progress
                share = p["updates"] / max(1, p["budget"]) if p else 0.0
                detail = describe(p) if p and job.state == "training" else f"{job.state} {job.seconds:.0f} s"
                table.add_row(f"{job.identity.model} [dim]seed {job.identity.seed}[/]", _bar(share), detail)
        return table


def _bar(share: float, width: int = 24) -> str:
    full = round(share * width)
    return f"[cyan]{'━' * full}[/][dim]{'━' * (width - full)}[/]"
