"""Run the sweep's scheduler on a simulated cluster with many failures: no job is lost or done twice.

The decisions are zoo's code: :func:`zoo.sweep.run_sweep` with its loop (which jobs are done, which are left,
the meaning of an exit code), :func:`zoo.running.run.ended` (what a worker does in a directory with a
record), :mod:`zoo.record` and :func:`zoo.errors.cut_off`. Records are real files. The clock, the GPUs and
the workers are simulated: a worker computes, saves a checkpoint (a file too), dies alone, with its
node or with its sweep, is pre-empted, meets a full disk, diverges, fails, or ends.

    python benchmarks/scheduler_simulation.py       # reads plan.json in results/scaling, writes simulation.*
    python benchmarks/scheduler_simulation.py ImageNet64    # only the scenarios with this in their name
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import heapq
import itertools
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from restarts import daly_interval, expected_time
from rich.console import Console

import zoo.sweep.run as scheduler
from zoo.config import Identity
from zoo.errors import CUT_OFF, cut_off
from zoo.record import RECORD, Record, read
from zoo.running.run import ended
from zoo.sweep import loop
from zoo.sweep.job import Job
from zoo.sweep.launcher import Local
from zoo.sweep.plan import Plan

RESULTS = Path(__file__).resolve().parents[1] / "results" / "scaling"
HOUR = 3600.0
CHECKPOINT = "last.json"
KILLED, PREEMPTED = -9, 143


@dataclass(frozen=True)
class Cluster:
    """The machines and their failures. One job occupies one slot: a GPU, or a node of GPUs.

    Attributes:
        slots, slots_per_node: slots in all, and slots that fail with a node.
        widest: largest number of slots of a job.
        worker_hours: mean hours between two deaths of one slot's worker (memory, kernel, its GPU).
        node_hours: mean hours between two failures of one node, which is then gone for ``repair_hours``.
        preempted_hours: mean hours until the cluster takes a slot from a job.
        sweep_hours: mean hours between two deaths of the sweep's process, with which all its jobs end.
        full_hours, full_for_hours: mean hours between two times of a full disk, and how long one lasts.
        start_hours: time from a worker's start to its first update.
        write_hours: time to write one checkpoint.
        leave_hours: time from the record to the end of the process; a death in it must not matter.
        again_hours: time until somebody gives the same command again.
    """

    slots: int = 64
    slots_per_node: int = 8
    widest: int = 1
    worker_hours: float = math.inf
    node_hours: float = math.inf
    preempted_hours: float = math.inf
    sweep_hours: float = math.inf
    full_hours: float = math.inf
    full_for_hours: float = 0.0
    repair_hours: float = 1.0
    start_hours: float = 60 / HOUR
    write_hours: float = 10 / HOUR
    leave_hours: float = 20 / HOUR
    again_hours: float = 0.25

    def failure_rate(self, interval: float) -> float:
        """Return the failures per hour, of all causes, of a running job that saves at this interval."""
        full = min(1.0, self.full_for_hours / (interval + self.write_hours)) / self.full_hours
        return (
            1 / self.worker_hours
            + 1 / self.node_hours
            + 1 / self.preempted_hours
            + 1 / self.sweep_hours
            + full
        )


@dataclass(frozen=True)
class Work:
    """One job: hours of training on slots of one node, in equal intervals between checkpoints; its end."""

    hours: float
    intervals: int
    status: str = "finished"
    share: float = 1.0
    slots: int = 1

    @property
    def interval(self) -> float:
        return self.hours / self.intervals

    @property
    def until_end(self) -> float:
        return self.hours * self.share


class SweepKilled(BaseException):
    """The sweep's process was killed by SIGKILL."""


@dataclass
class Worker:
    """A simulated process, seen by the scheduler through ``poll``, ``interrupt`` and ``kill``."""

    cluster: Machines
    directory: Path
    work: Work
    slots: tuple[int, ...] = ()
    began: float = 0.0
    saved: int = 0  # intervals in the checkpoint that it started from
    recorded: bool = False
    code: int | None = None
    queued = False  # decided by the machines
    mps = False

    def poll(self) -> int | None:
        return self.code

    def interrupt(self) -> None:
        self.cluster.end(self, 130)

    def kill(self) -> None:
        self.cluster.end(self, KILLED)

    def done(self, now: float) -> tuple[int, float, float]:
        """Return the intervals saved since the start, hours of work beyond them, hours spent on writing."""
        spent = max(0.0, now - self.began - self.cluster.about.start_hours)
        write = self.cluster.about.write_hours
        full = math.floor(spent / (self.work.interval + write) + 1e-9)
        full = min(full, math.floor(self.work.until_end / self.work.interval + 1e-9) - self.saved)
        rest = max(0.0, spent - full * (self.work.interval + write))
        left = self.work.until_end - (self.saved + full) * self.work.interval
        lost = min(rest, self.work.interval, max(0.0, left))
        return full, lost, full * write + max(0.0, min(rest - lost, write))


@dataclass
class Machines(Local):
    """The clock and the cluster: the scheduler's launcher, which starts workers, and its module ``time``."""

    about: Cluster
    works: dict[str, Work]
    seed: int
    now: float = 0.0
    ended: int = 0
    hours: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    completed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.agenda: list[tuple[float, int, Callable[[], None], Worker | None]] = []
        self.order = itertools.count()
        self.free = list(range(self.about.slots))
        self.down: dict[int, float] = {}
        self.waiting: deque[Worker] = deque()
        self.running: dict[int, Worker] = {}
        nodes = self.about.slots // self.about.slots_per_node
        self._again(self.about.node_hours / nodes, self._node_fails)
        self._again(self.about.sweep_hours, self._sweep_dies)
        self.full: list[tuple[float, float]] = []
        at = 0.0
        while math.isfinite(self.about.full_hours) and at < 1e6:
            at += self._wait(self.about.full_hours)
            self.full.append((at, at + self.about.full_for_hours))
            at += self.about.full_for_hours

    # The clock, as the scheduler's module ``time`` (seconds) ------------------------------------------------

    def monotonic(self) -> float:
        return self.now * HOUR

    def sleep(self, seconds: float) -> None:
        """Move the clock by at least this long, and on until a worker ends: until then nothing changes."""
        ended = self.ended
        self.pass_until(self.now + seconds / HOUR)
        while self.ended == ended and (self.running or self.waiting):
            self.pass_until(self._next())

    def pass_until(self, target: float) -> None:
        while self._next() <= target:
            self.now, _, happens, _ = heapq.heappop(self.agenda)
            happens()
        self.now = max(self.now, target)

    def _next(self) -> float:
        """Return the time of the next event, or infinity; drop events of workers that have ended."""
        while self.agenda and (worker := self.agenda[0][3]) is not None and worker.code is not None:
            heapq.heappop(self.agenda)
        return self.agenda[0][0] if self.agenda else math.inf

    def _at(self, when: float, happens: Callable[[], None], worker: Worker | None = None) -> None:
        heapq.heappush(self.agenda, (when, next(self.order), happens, worker))

    def _wait(self, mean: float) -> float:
        return self.random.expovariate(1 / mean)

    def _again(self, mean: float, happens: Callable[[], None]) -> None:
        """Repeat an event at random times, this long apart on average."""
        if not math.isfinite(mean):
            return

        def both() -> None:
            self._at(self.now + self._wait(mean), both)
            happens()

        self._at(self.now + self._wait(mean), both)

    # Failures -----------------------------------------------------------------------------------------------

    def is_full(self, when: float) -> bool:
        index = bisect.bisect_right(self.full, (when, math.inf)) - 1
        return index >= 0 and when < self.full[index][1]

    def _node_fails(self) -> None:
        per = self.about.slots_per_node
        node = self.random.randrange(self.about.slots // per)
        if node in self.down:
            return
        self.events["node failures"] += 1
        self.down[node] = self.now + self.about.repair_hours
        for slot in range(node * per, (node + 1) * per):
            if slot in self.running:  # a job with several slots ends with the first of them
                self.end(self.running[slot], KILLED)
        self.free = [slot for slot in self.free if slot // per != node]
        self._at(self.down[node], lambda: self._repaired(node))

    def _repaired(self, node: int) -> None:
        per = self.about.slots_per_node
        del self.down[node]
        self.free += range(node * per, (node + 1) * per)
        self._dispatch()

    def _sweep_dies(self) -> None:
        if not self.running:
            return
        self.events["sweep deaths"] += 1
        self.waiting.clear()
        for worker in {id(w): w for w in self.running.values()}.values():  # they end with their parent
            self.end(worker, 130)
        raise SweepKilled

    # Workers ------------------------------------------------------------------------------------------------

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Worker:
        """Start a job, which waits for a slot, as in a cluster's queue."""
        if self.is_full(self.now):
            raise OSError(errno.ENOSPC, "No space left on device")
        worker = Worker(self, directory, self.works[directory.name])
        self.waiting.append(worker)
        self._dispatch()
        return worker

    def _dispatch(self) -> None:
        """Start the waiting jobs that there is room for; one may overtake another that needs a whole node."""
        for worker in list(self.waiting):
            if not self.free:
                return
            if worker in self.waiting and (slots := self._room(worker.work.slots)):
                self.waiting.remove(worker)
                self._begin(worker, slots)

    def _room(self, count: int) -> tuple[int, ...]:
        """Take this many free slots of one node, the fullest that has them; none if no node has."""
        if self.about.widest == 1:
            return (self.free.pop(),)
        by_node: dict[int, list[int]] = {}
        for slot in self.free:
            by_node.setdefault(slot // self.about.slots_per_node, []).append(slot)
        fitting = [slots for slots in by_node.values() if len(slots) >= count]
        taken = tuple(min(fitting, key=len)[:count]) if fitting else ()
        self.free = [slot for slot in self.free if slot not in taken]
        return taken

    def _begin(self, worker: Worker, slots: tuple[int, ...]) -> None:
        worker.slots, worker.began = slots, self.now
        self.running |= dict.fromkeys(slots, worker)
        self.events["starts"] += 1
        if ended(worker.directory) is not None:  # the first step of zoo.running.run.run
            self.events["started for nothing"] += 1
            self.end(worker, 0)
            return
        (worker.directory / RECORD).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            worker.saved = json.loads((worker.directory / CHECKPOINT).read_text())
            self.events["resumed"] += 1
        work, write = worker.work, self.about.write_hours
        first = self.now + self.about.start_hours
        step = work.interval + write
        count = math.floor(work.until_end / work.interval + 1e-9) - worker.saved
        self._at(
            first + work.until_end - worker.saved * work.interval + count * write,
            lambda: self._record(worker),
            worker,
        )
        for mean, code, name in (
            (self.about.worker_hours, KILLED, "worker deaths"),
            (self.about.preempted_hours, PREEMPTED, "pre-emptions"),
        ):
            if math.isfinite(mean):
                self._at(self.now + self._wait(mean), partial(self.end, worker, code, name), worker)
        for begin, over in self.full[bisect.bisect_left(self.full, (first - self.about.full_for_hours,)) :]:
            number = max(1, math.ceil((begin - first) / step))
            if number > count:
                break
            if begin <= first + number * step < over:
                end = partial(self.end, worker, self._no_room(), "full disks met")
                self._at(first + number * step - 1e-6, end, worker)
                break

    @staticmethod
    def _no_room() -> int:
        """Return the exit code of ``zoo train`` when it cannot write."""
        return 1 if cut_off(OSError(errno.ENOSPC, "No space left on device")) is None else CUT_OFF

    def _record(self, worker: Worker) -> None:
        """Write the record of a worker whose work is done, and end it a little later."""
        if worker.code is not None:
            return
        if self.is_full(self.now):
            self.end(worker, self._no_room(), "full disks met")
            return
        status = worker.work.status
        reason = None if status == "finished" else f"simulated: {status}"
        name = worker.directory.name
        Record(name, "simulated", "unknown", "none", 0, status, reason).write(worker.directory)
        worker.recorded = True
        self.completed[name] += 1
        self.hours["work"] += worker.work.until_end * len(worker.slots)
        leave = self.now + self.about.leave_hours
        self._at(leave, partial(self.end, worker, 0 if status == "finished" else 2), worker)

    def end(self, worker: Worker, code: int, name: str = "") -> None:
        """End the process of a worker; its saved files stay."""
        if worker.code is not None:
            return
        worker.code = code
        self.ended += 1
        if not worker.slots:  # it still waits for a slot
            with contextlib.suppress(ValueError):
                self.waiting.remove(worker)
            return
        self.events[name] += bool(name)
        for slot in worker.slots:
            del self.running[slot]
        if worker.slots[0] // self.about.slots_per_node not in self.down:
            self.free += worker.slots
        spent, wide = self.now - worker.began, len(worker.slots)
        full, lost, writing = worker.done(self.now)
        self.hours["occupied"] += wide * spent
        self.hours["starting"] += wide * min(spent, self.about.start_hours)
        self.hours["writing"] += wide * writing
        if worker.recorded:
            (worker.directory / CHECKPOINT).unlink(missing_ok=True)
        else:
            self.hours["lost"] += wide * lost
            self.events["cut off"] += code != 0
            if full:
                (worker.directory / CHECKPOINT).write_text(json.dumps(worker.saved + full))
        self._dispatch()


@dataclass
class Outcome:
    """The result of a simulation; see :func:`simulate`."""

    jobs: int
    lost: list[str]
    twice: list[str]
    wrong: list[str]
    commands: int
    makespan_hours: float
    hours: dict[str, float]
    events: dict[str, int]
    wasted_share: float
    idle_share: float
    expected_hours: float

    @property
    def sound(self) -> bool:
        """Whether every job ended exactly once, with the right status."""
        return not (self.lost or self.twice or self.wrong)


def simulate(works: Sequence[Work], cluster: Cluster, seed: int = 0) -> Outcome:
    """Repeat the command of a sweep until all jobs have ended; return counts and times of the simulation.

    ``lost``, ``twice`` and ``wrong`` name the jobs without a record at the end, those that were computed to
    their end more than once, and those whose record has a wrong status. ``hours`` are hours of slots:
    ``occupied`` = ``work`` + ``lost`` + ``starting`` + ``writing`` + leaving. ``wasted_share`` is the part of
    ``occupied`` that is not work, ``idle_share`` the part of all slots' time without a job.
    ``expected_hours`` is ``occupied`` by Daly's closed form.
    """
    named = {f"job-{index:05d}": work for index, work in enumerate(works)}
    machines = Machines(cluster, named, seed)
    console = Console(quiet=True)
    commands = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        root = Path(folder)
        stack.enter_context(mock.patch.object(os, "fsync"))  # the simulation needs no durable files
        for module, name, substitute in (
            (loop, "time", machines),
            (scheduler, "plan_sweep", lambda *_: _plan(root, named, cluster.slots)),
            (loop, "make_display", lambda *_: _Silent()),
            (scheduler, "stop_on_signals", lambda: None),
        ):
            stack.enter_context(mock.patch.object(module, name, substitute))
        jobs: list[Job] = []
        while commands == 0 or not all(job.ended for job in jobs):
            machines.pass_until(machines.now + (cluster.again_hours if commands else 0.0))
            commands += 1
            jobs = []
            with contextlib.suppress(SweepKilled):
                jobs = scheduler.run_sweep("simulated", console=console, launcher=machines)[1]
            if not jobs:
                jobs = _plan(
                    root, named, cluster.slots
                ).jobs  # the sweep was killed, so the state of its jobs is unknown
        records = {name: _read(root / name) for name in named}
    finished = machines.now
    ended_twice = [name for name in named if machines.completed[name] > 1]
    hours = {key: machines.hours[key] for key in ("occupied", "work", "lost", "starting", "writing")}
    return Outcome(
        jobs=len(works),
        lost=[name for name, record in records.items() if record is None],
        twice=ended_twice,
        wrong=[n for n, r in records.items() if r is not None and r.status != named[n].status],
        commands=commands,
        makespan_hours=finished,
        hours=hours,
        events=dict(sorted((k, v) for k, v in machines.events.items() if k)),
        wasted_share=1 - hours["work"] / hours["occupied"],
        idle_share=1 - hours["occupied"] / (cluster.slots * finished),
        expected_hours=sum(work.slots * expected_occupation(work, cluster) for work in works),
    )


def expected_occupation(work: Work, cluster: Cluster) -> float:
    """Return the expected hours that a job occupies its slot, by Daly's closed form."""
    rate = cluster.failure_rate(work.interval)
    time = expected_time(work.until_end, work.interval, cluster.write_hours, cluster.start_hours, rate)
    return time + cluster.leave_hours


def best_intervals(hours: float, cluster: Cluster) -> int:
    """Return the cheapest ``training.validations`` by Daly's interval."""
    rate = cluster.failure_rate(math.inf)
    return max(1, round(hours / daly_interval(cluster.write_hours, rate))) if rate else 1


def _plan(root: Path, works: dict[str, Work], parallel: int) -> Plan:
    jobs = [Job([f"job={name}"], _Named(name), root / name) for name in works]
    return Plan("simulated", root, parallel, jobs=jobs)


class _Named(Identity):
    """An identity without a configuration."""

    def __init__(self, name: str) -> None:
        super().__init__("simulated", "none", 0, {}, name, name)

    @property
    def run_id(self) -> str:
        return self.config_hash


class _Silent:
    """A display that shows nothing."""

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def ended(self, job: Job) -> None:
        pass

    def update(self) -> None:
        pass


def _read(directory: Path) -> Record | None:
    return read(directory) if (directory / RECORD).exists() else None


# Many small jobs on a cluster worse than real ones: every cause of failure occurs often.
HARSH = Cluster(
    worker_hours=1000.0,
    node_hours=1000.0,
    preempted_hours=200.0,
    sweep_hours=100.0,
    full_hours=200.0,
    full_for_hours=0.5,
)


def many(count: int, cluster: Cluster, mean_hours: float = 8.0, seed: int = 0) -> list[Work]:
    """Return jobs of log-normal lengths, of which 2 in 100 diverge and 1 in 100 fails midway."""
    generator = random.Random(seed)
    works = []
    for _ in range(count):
        hours = mean_hours * generator.lognormvariate(-0.5 * 0.8**2, 0.8)
        chance, share = generator.random(), generator.random()
        status = "diverged" if chance < 0.02 else "failed" if chance < 0.03 else "finished"
        works.append(
            Work(hours, best_intervals(hours, cluster), status, share if status != "finished" else 1.0)
        )
    return works


def planned(kind: str) -> tuple[list[Work], Cluster]:
    """Return the sweep in ``results/scaling/plan.json``, a slot a GPU, on a private or shared cluster."""
    plan = json.loads((RESULTS / "plan.json").read_text())
    given = {name: item["value"] for name, item in plan["assumptions"].items()}
    cluster = Cluster(
        slots=int(given["gpus"]),
        slots_per_node=int(given["gpus_per_node"]),
        widest=max(row["devices"] for row in plan["rows"]),
        node_hours=given["gpu_hours_per_failure"] / given["gpus_per_node"],
        preempted_hours=given["preempted_hours"] if kind == "shared" else math.inf,
        sweep_hours=given["sweep_hours"],
        start_hours=given["start_hours"],
        write_hours=statistics.fmean(row["write_hours"] for row in plan["rows"]),
        again_hours=given["again_hours"],
    )
    rows = sorted(plan["rows"], key=lambda row: -row["hours"])  # the longest first
    works = [
        Work(row["hours"], row[kind]["validations"], slots=row["devices"])
        for row in rows
        for _ in range(int(given["seeds"]))
    ]
    return works, cluster


def markdown(scenarios: dict[str, dict[str, Any]]) -> str:
    """Return a table with a column for each scenario."""

    def line(name: str, tell: Callable[[dict[str, Any]], str]) -> str:
        return f"| {name} | " + " | ".join(tell(scenario) for scenario in scenarios.values()) + " |"

    def event(name: str) -> str:
        return line(name, lambda s: f"{s['outcome']['events'].get(name, 0):,}")

    def share(name: str) -> str:
        def tell(scenario: dict[str, Any]) -> str:
            hours = scenario["outcome"]["hours"]
            return f"{hours[name] / hours['occupied']:.2%}"

        return line(f"of occupied time: {name}", tell)

    return (
        "\n".join(
            [
                "| | " + " | ".join(scenarios) + " |",
                "|---" + "|---:" * len(scenarios) + "|",
                line("jobs", lambda s: f"{s['outcome']['jobs']:,}"),
                line("slots", lambda s: str(s["cluster"]["slots"])),
                *map(
                    event, ("starts", "resumed", "cut off", "worker deaths", "node failures", "pre-emptions")
                ),
                *map(event, ("sweep deaths", "full disks met")),
                line("commands given", lambda s: f"{s['outcome']['commands']:,}"),
                line("**lost**", lambda s: f"**{len(s['outcome']['lost'])}**"),
                line("**computed to the end twice**", lambda s: f"**{len(s['outcome']['twice'])}**"),
                line("**recorded wrongly**", lambda s: f"**{len(s['outcome']['wrong'])}**"),
                line("makespan (days)", lambda s: f"{s['outcome']['makespan_hours'] / 24:,.1f}"),
                *map(share, ("lost", "starting", "writing")),
                line("wasted, simulated", lambda s: f"{s['outcome']['wasted_share']:.2%}"),
                line("wasted, by the closed form", lambda s: f"{s['closed_form_wasted_share']:.2%}"),
                line("slots without a job", lambda s: f"{s['outcome']['idle_share']:.1%}"),
            ]
        )
        + "\n"
    )


def main() -> None:
    setups: dict[str, Callable[[], tuple[list[Work], Cluster]]] = {
        "10,000 jobs, harsh": lambda: (many(10_000, HARSH), HARSH),
        "ImageNet64, own": lambda: planned("own"),
        "ImageNet64, shared": lambda: planned("shared"),
    }
    file, wanted = RESULTS / "simulation.json", sys.argv[1:] or [""]
    scenarios = json.loads(file.read_text())["scenarios"] if file.exists() else {}
    scenarios = {name: scenarios.get(name) for name in setups}
    for name, setup in setups.items():
        if scenarios[name] is not None and not any(word in name for word in wanted):
            continue
        works, cluster = setup()
        begun = time.perf_counter()
        outcome = simulate(works, cluster)
        scenarios[name] = {
            "cluster": {
                key: value if math.isfinite(value) else None for key, value in asdict(cluster).items()
            },
            "outcome": asdict(outcome),
            "closed_form_wasted_share": 1 - outcome.hours["work"] / outcome.expected_hours,
            "simulated_in_seconds": round(time.perf_counter() - begun, 1),
        }
        print(f"{name}: {scenarios[name]['simulated_in_seconds']} s", flush=True)
        assert outcome.sound, f"{name}: a job was lost, done twice or recorded wrongly."
    RESULTS.mkdir(parents=True, exist_ok=True)
    record = {"command": "python benchmarks/scheduler_simulation.py", "seed": 0, "scenarios": scenarios}
    file.write_text(json.dumps(record, indent=1) + "\n")
    text = markdown(scenarios)
    (RESULTS / "simulation.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
