"""From a sweep's YAML to its jobs, each with its identity and its directory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zoo.config import Identity, shipped
from zoo.errors import ZooError, unknown
from zoo.identities import Identities
from zoo.record import RECORD, Record, read
from zoo.sweep.launcher import Worker
from zoo.sweep.search import Search

ENDED = ("finished", "diverged", "failed")
WHOLE = {"jobs", "threads", "search"}  # settings of a whole sweep; the others are of its blocks too
SETTINGS = WHOLE | {"description", "overrides", "grid", "variants", "list", "when", "blocks"}


@dataclass
class Job:
    """One run of a sweep.

    Attributes:
        state: ``waiting``, ``starting``, a phase of the run, ``elsewhere`` (another process is at work in its
            directory), ``cut off``, or the status of its record.
        stale: the time stamp of a record that is to be made again; None where there is none.
    """

    overrides: list[str]
    identity: Identity
    directory: Path
    worker: Worker | None = None
    state: str = "waiting"
    reason: str = ""
    started: float = 0.0
    seconds: float = 0.0
    stale: int | None = None
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the run needs no more work."""
        return self.state in ENDED

    def record(self) -> Record | None:
        """The run's record; None without one, or where that is damaged or stale."""
        try:
            if self.stale == (self.directory / RECORD).stat().st_mtime_ns:
                return None
            return read(self.directory)
        except (OSError, ZooError):
            return None

    def adopt(self, retry_failed: bool = False) -> bool:
        """Take state and reason from the record; returns whether there is one that stands."""
        record = self.record()
        if record is None:
            return False
        if record.status == "failed" and retry_failed:
            self.stale = (self.directory / RECORD).stat().st_mtime_ns
            return False
        self.state, self.reason = record.status, record.reason or ""
        return True


@dataclass
class Plan:
    """What a sweep is made of.

    Attributes:
        root: the directory of its runs.
        jobs: those known at the start; a search proposes more.
        searches: one for each point of the grid, where the sweep searches.
        parallel: jobs at a time that the sweep asks for.
        threads: of each job's arithmetic; None: the machine's cores shared out.
        identities: finds those of the jobs.
    """

    name: str
    root: Path
    jobs: list[Job]
    searches: list[Search]
    parallel: int
    threads: int | None = None
    identities: Identities = field(default_factory=Identities, repr=False)

    @property
    def size(self) -> int:
        """Jobs in all, counting the trials that are not proposed yet."""
        return len(self.jobs) + sum(search.trials for search in self.searches)

    def job(self, overrides: Sequence[str]) -> Job:
        """The job of these overrides."""
        overrides = [*overrides, f"sweep={self.name}"]
        identity = self.identities.of(overrides)
        return Job(overrides, identity, self.root / identity.run_id)


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
    """The overrides of every job of a sweep (of a search: of every point that it starts from).

    ``overrides`` go to every job, ``grid`` (key: list) spans a product, in which ``variants`` (a list of
    mappings) is one more axis, ``list`` names single jobs as mappings, ``when`` (``"model=gan"``: mapping)
    gives the jobs that have that override others, save those that the job names itself. ``blocks`` is a list
    of such sweeps, one after the other, which have their parent's ``overrides`` and ``when`` besides their
    own. ``extra`` comes from the command line: it replaces a grid's axis of the same key, and otherwise wins
    over everything.

    Raises:
        ZooError: a key that a sweep does not have, or a grid that is not lists.
    """
    for key in sweep:
        if key not in SETTINGS:
            raise unknown("sweep setting", key, SETTINGS)
    if "blocks" in sweep:
        return [job for block in sweep["blocks"] for job in expand(_within(sweep, block), extra)]
    fixed = dict(text.partition("=")[::2] for text in extra)
    grid: dict[str, Any] = dict(sweep.get("grid") or {})
    for key in [*grid, *(k for k, v in fixed.items() if "," in v and v[0] not in "[{'\"" and k not in grid)]:
        if key in fixed:  # several values on the command line span an axis, known to the sweep or new
            grid[key] = [v for v in fixed.pop(key).split(",") if v]
        if not isinstance(grid[key], list) or not grid[key]:
            raise ZooError(f"The grid of a sweep holds lists; '{key}' has {grid[key]!r}.")
    axes = [[{key: value} for value in values] for key, values in grid.items()]
    axes += [sweep["variants"]] if sweep.get("variants") else []
    points = (
        [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*axes)]
        if axes
        else []
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
                settings = settings | more | point
        settings |= fixed
        jobs.append([f"{key}={text(value)}" for key, value in settings.items()])
    return jobs


def _within(sweep: dict[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    """A block with what its sweep gives to every job; where both speak of a key, the block is right."""
    for key in block:
        if key in WHOLE:
            raise ZooError(f"'{key}' is a setting of a whole sweep, not of one of its blocks.")
    when = dict(sweep.get("when") or {})
    for condition, more in (block.get("when") or {}).items():
        when[condition] = when.get(condition, {}) | more
    return block | {
        "overrides": (sweep.get("overrides") or {}) | (block.get("overrides") or {}),
        "when": when,
    }


def text(value: Any) -> str:
    """A value as Hydra's command line reads it."""
    if value is None:
        return "null"
    return json.dumps(value) if isinstance(value, bool | list | dict) else str(value)


def plan(name: str, extra: Sequence[str], out: Path | None) -> Plan:
    """What there is to do for a sweep.

    Raises:
        ZooError: no such sweep, or one that cannot be read.
    """
    file = find(name)
    try:
        sweep = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise ZooError(f"The sweep {file} is not valid YAML: {' '.join(str(error).split())}.") from None
    root = (out or Path("runs") / file.stem).absolute()
    threads = sweep.get("threads")
    if threads is not None and not (isinstance(threads, int) and threads >= 1):
        raise ZooError(f"The threads of a sweep's jobs are a whole number from 1; {file} has {threads!r}.")
    found = Plan(file.stem, root, [], [], int(sweep.get("jobs", 1)), threads)
    points = expand(sweep, extra)
    if sweep.get("search"):
        fixed = {o.partition("=")[0] for o in extra}
        found.searches = [Search(sweep["search"], point, root, fixed) for point in points]
        for search in found.searches:
            found.job(search.point)  # a mistake shows before anything runs
    else:
        jobs = [found.job(point) for point in points]
        found.jobs = list({job.identity.run_id: job for job in jobs}.values())  # where first named
    return found
