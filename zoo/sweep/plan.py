"""From a sweep's YAML to its jobs, each with its identity and its directory."""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zoo.config import Identity, shipped
from zoo.config.identities import Identities
from zoo.config.identity import NOT_IDENTITY
from zoo.config.overrides import canonical, is_sweep, quote, split, swept_values, to_text
from zoo.errors import ZooError, unknown
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
        unmet: conditions of ``when`` that no job meets.
        identities: finds those of the jobs.
    """

    name: str
    root: Path
    jobs: list[Job]
    searches: list[Search]
    parallel: int
    threads: int | None = None
    unmet: list[str] = field(default_factory=list)
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


def find_sweep(name: str) -> Path:
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
    own. ``extra`` comes from the command line and wins over everything, so ``when`` asks for what it leaves;
    several values of a key replace a grid's axis or add one.

    Raises:
        ZooError: a key that a sweep does not have, or a grid that is not lists.
    """
    return _expand(sweep, extra, set())


def unmet(sweep: dict[str, Any], extra: Sequence[str]) -> list[str]:
    """The conditions of ``when`` that no job meets, with the command line or without it: a misspelt one."""
    met: set[str] = set()
    _expand(sweep, extra, met)
    _expand(sweep, [], met)
    blocks = sweep.get("blocks") or []
    every = [condition for part in [sweep, *blocks] for condition in part.get("when") or {}]
    return [condition for condition in dict.fromkeys(every) if condition not in met]


def _expand(sweep: dict[str, Any], extra: Sequence[str], met: set[str]) -> list[list[str]]:
    """:func:`expand`; adds to ``met`` the conditions of ``when`` that a job meets."""
    for key in sweep:
        if key not in SETTINGS:
            raise unknown("sweep setting", str(key), SETTINGS)
    if "blocks" in sweep:
        return [job for block in sweep["blocks"] for job in _expand(_within(sweep, block), extra, met)]
    given = {override.partition("=")[0]: _values(override) for override in extra}
    fixed = {key: values[0] for key, values in given.items() if len(values) == 1}
    several = {key: values for key, values in given.items() if len(values) > 1}
    grid: dict[str, Any] = {}
    for key, values in (sweep.get("grid") or {}).items():
        if not isinstance(values, list) or not values:
            raise ZooError(f"The grid of a sweep holds lists; '{key}' has {values!r}.")
        grid[key] = given.get(key) or [to_text(value) for value in values]
    variants = [_texts(variant, given) for variant in sweep.get("variants") or []]
    single = [_texts(point, given) for point in sweep.get("list") or []]
    points = []
    if grid or variants or not single:
        points += _product([*_axes(grid | several), *([variants] if variants else [])])
    points += [point | part for point in single for part in _product(_axes(several))]
    common = _texts(sweep.get("overrides") or {})
    when = {condition: _texts(more) for condition, more in (sweep.get("when") or {}).items()}
    jobs = []
    for point in points:
        settings = common | point
        for condition, more in when.items():
            key, _, value = condition.partition("=")
            found = (settings | fixed).get(key)
            if found is not None and canonical(found) == canonical(value):
                met.add(condition)
                settings = settings | more | point
        jobs.append([f"{key}={value}" for key, value in (settings | fixed).items()])
    return jobs


def _values(override: str) -> list[str]:
    """Return the values that an override of the command line gives to its key; several span an axis.

    Raises:
        ZooError: a sweep without a list of values.
    """
    key, value = split(override)
    if is_sweep(override) and key.lstrip("+").partition(".")[0] in NOT_IDENTITY:
        return [quote(value)]  # such jobs would be one and the same run
    return swept_values(override)


def _texts(settings: dict[str, Any], without: Container[str] = ()) -> dict[str, str]:
    return {key: to_text(value) for key, value in settings.items() if key not in without}


def _axes(grid: dict[str, list[str]]) -> list[list[dict[str, str]]]:
    return [[{key: value} for value in values] for key, values in grid.items()]


def _product(axes: list[list[dict[str, str]]]) -> list[dict[str, str]]:
    """Every choice of one from each axis, later axes being right; a single empty one of no axes."""
    return [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*axes)]


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


def _check(sweep: Any, file: Path) -> None:
    """Refuse what is no sweep by its form, in a sentence that names the setting."""
    if not isinstance(sweep, dict):
        raise ZooError(f"A sweep is a mapping of settings (docs/sweeps.md); {file} holds a {_kind(sweep)}.")
    for key in ("jobs", "threads"):
        value = sweep.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ZooError(f"The {key} of a sweep are a whole number from 1; {file} has {value!r}.")
    for key in ("overrides", "grid", "when", "search"):
        value = sweep.get(key) or {}
        if not isinstance(value, dict):
            raise ZooError(f"'{key}' of a sweep is a mapping; {file} has a {_kind(value)}.")
        for name, more in value.items() if key == "when" else ():
            if not isinstance(more, dict):
                raise ZooError(f"'when' of a sweep gives mappings; '{name}' in {file} has {more!r}.")
    for key in ("list", "variants", "blocks"):
        value = sweep.get(key) or []
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise ZooError(f"'{key}' of a sweep is a list of mappings; {file} has {value!r}.")
    if "blocks" in sweep and (beside := [key for key in ("grid", "list", "variants") if key in sweep]):
        raise ZooError(f"'{beside[0]}' beside 'blocks' in {file} would be ignored; put it into a block.")
    for block in sweep.get("blocks") or []:
        _check(block, file)


def _kind(value: Any) -> str:
    return {list: "list", str: "text", int: "number", float: "number"}.get(type(value), type(value).__name__)


def plan_sweep(name: str, extra: Sequence[str], out: Path | None) -> Plan:
    """What there is to do for a sweep.

    Raises:
        ZooError: no such sweep, or one that cannot be read.
    """
    file = find_sweep(name)
    try:
        sweep = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise ZooError(f"The sweep {file} is not valid YAML: {' '.join(str(error).split())}.") from None
    _check(sweep, file)
    root = (out or Path("runs") / file.stem).absolute()
    found = Plan(file.stem, root, [], [], sweep.get("jobs", 1), sweep.get("threads"))
    points = expand(sweep, extra)
    found.unmet = unmet(sweep, extra)
    if "search" in sweep:
        fixed = {o.partition("=")[0] for o in extra}
        found.searches = [Search(sweep["search"] or {}, point, root, fixed) for point in points]
        for overrides in (o for search in found.searches for o in search.extremes()):
            found.job(overrides)  # a mistake shows before anything runs
    else:
        jobs = [found.job(point) for point in points]
        found.jobs = list({job.identity.run_id: job for job in jobs}.values())  # where first named
    return found
