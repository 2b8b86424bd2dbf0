"""The YAML file of a sweep: its location, its settings, and the overrides of its jobs."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zoo.config import shipped
from zoo.config.identity import NOT_IDENTITY
from zoo.config.overrides import canonical, is_sweep, quote, split, swept_values, to_text
from zoo.errors import ZooError, unknown
from zoo.sweep.search import SearchSettings

Settings = dict[str, Any]
Point = dict[str, str]  # the overrides of one job: the text of each value by its key


class Block(BaseModel):
    """A set of jobs.

    Attributes:
        overrides: settings of every job.
        grid: lists of values by key; the jobs are their product.
        variants: one more axis of that product, whose values are mappings of settings.
        single: single jobs, each a mapping of settings; the key in the file is ``list``.
        when: settings for the jobs that meet a condition such as ``model=gan``. A job's own settings (of the
            grid, a variant or the list) win over these.
        blocks: sets of jobs that run one after the other. They inherit ``overrides`` and ``when``.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    description: str = ""
    overrides: Settings = {}
    grid: dict[str, Annotated[list[Any], Len(1)]] = {}
    variants: list[Settings] = []
    single: list[Settings] = Field(default=[], alias="list")
    when: dict[str, Settings] = {}
    blocks: list[Block] = []

    @model_validator(mode="before")
    @classmethod
    def _ignore_empty(cls, values: Any) -> Any:
        """Read a setting without a value (``grid:``) like a missing one; ``search:`` like an empty search."""
        if not isinstance(values, Mapping):
            return values
        return {k: {} if v is None else v for k, v in values.items() if v is not None or k == "search"}

    @model_validator(mode="after")
    def _jobs_in_one_place(self) -> Block:
        for name, jobs in {"grid": self.grid, "list": self.single, "variants": self.variants}.items():
            if self.blocks and jobs:
                raise ValueError(f"'{name}' beside 'blocks' would be ignored; put it into a block")
        return self

    def inherit(self, parent: Block) -> Block:
        """Return this block with the parent's ``overrides`` and ``when``; its own settings win."""
        when = dict(parent.when)
        for condition, settings in self.when.items():
            when[condition] = when.get(condition, {}) | settings
        return self.model_copy(update={"overrides": parent.overrides | self.overrides, "when": when})

    def conditions(self) -> Iterator[str]:
        """Yield every condition of ``when``, those of blocks too."""
        yield from self.when
        for block in self.blocks:
            yield from block.conditions()


class Sweep(Block):
    """A whole sweep.

    Attributes:
        jobs: number of jobs that run at a time.
        threads: threads of each job's arithmetic; None: the machine's cores are shared out.
        seconds: how long a job that meets a condition such as ``model=gan`` takes, on the machine that
            measured it; it only serves to tell the time left.
        search: a hyper-parameter search that starts from each point of the grid.
    """

    jobs: Annotated[int, Ge(1)] = 1
    threads: Annotated[int, Ge(1)] | None = None
    seconds: dict[str, Annotated[int, Ge(1)]] = {}
    search: SearchSettings | None = None


def find_sweep(name: str) -> Path:
    """Return the file of a sweep: a path, ``./sweeps/NAME.yaml``, or a shipped one.

    Raises:
        ZooError: the file does not exist; the nearest names are offered.
    """
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise ZooError(f"There is no sweep file {name}.")
    folders = [Path.cwd() / "sweeps", shipped("sweeps")]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = {
        file.relative_to(folder).with_suffix("").as_posix()
        for folder in folders
        for file in [*folder.glob("*.yaml"), *folder.glob("papers/*.yaml")]
    }
    raise unknown("sweep", name, known)


def read_sweep(file: Path) -> Sweep:
    """Read and check a sweep's YAML.

    Raises:
        ZooError: it is not valid YAML, or a setting is unknown or has the wrong type.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ZooError(f"The sweep {file} is not valid YAML: {' '.join(str(error).split())}.") from None
    return check_sweep({} if values is None else values, str(file))


def check_sweep(values: Any, name: str) -> Sweep:
    """Check the settings of a sweep; ``name`` is for the error messages.

    Raises:
        ZooError: a setting is unknown or has the wrong type.
    """
    try:
        return Sweep.model_validate(values)
    except ValidationError as error:
        raise _explain(error, name) from None


_NEEDED = {
    "dict_type": "a mapping",
    "model_type": "a mapping of settings (docs/sweeps.md)",
    "list_type": "a list",
    "too_short": "not empty",
    "int_type": "a whole number",
    "string_type": "text",
    "missing": "given",
}


def _explain(error: ValidationError, name: str) -> ZooError:
    """Return the first mistake in a sweep as one sentence."""
    mistake = error.errors()[0]
    kind, path = mistake["type"], mistake["loc"]
    if kind in ("extra_forbidden", "invalid_key"):
        known = [field.alias or key for key, field in Sweep.model_fields.items()]
        if path[0] == "search":
            return unknown("setting of a search", str(path[-1]), SearchSettings.model_fields)
        if path[-1] in known:
            return ZooError(f"'{path[-1]}' is a setting of a whole sweep, not of one of its blocks.")
        return unknown("sweep setting", str(path[-1]), known)
    if kind == "value_error":
        return ZooError(f"In the sweep {name}, {mistake['ctx']['error']}.")
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    actual = "it is missing" if kind == "missing" else f"got {mistake['input']!r}"
    if kind == "literal_error":
        needed = mistake["ctx"]["expected"].replace("'", "")
    else:
        needed = _NEEDED.get(kind, kind)
    needed = f"at least {mistake['ctx']['ge']}" if "ge" in mistake.get("ctx", ()) else needed
    return ZooError(f"{place or 'A sweep'} must be {needed} in {name}; {actual}.")


def expand(sweep: Block, extra: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every job of a sweep (for a search: of every point that it starts from).

    Args:
        sweep: the sweep, or one block of it.
        extra: overrides of the command line, which win over everything; a condition of ``when`` is tested
            on the result. Several values of a key replace an axis of the grid, or add one.

    Raises:
        ZooError: values on the command line that cannot be listed.
    """
    return _expand(sweep, extra, set())


def expected_seconds(sweep: Sweep, overrides: Sequence[str]) -> float | None:
    """Return how long the sweep's file expects a job to take, by the last condition it meets; or None."""
    job = {key: canonical(value) for key, value in map(split, overrides)}
    met = [
        seconds
        for condition, seconds in sweep.seconds.items()
        if job.get(split(condition)[0]) == canonical(split(condition)[1])
    ]
    return float(met[-1]) if met else None


def unmet_conditions(sweep: Block, extra: Sequence[str]) -> list[str]:
    """Return the conditions of ``when`` that no job meets, with the command line or without it."""
    met: set[str] = set()
    _expand(sweep, extra, met)
    _expand(sweep, [], met)
    return [condition for condition in dict.fromkeys(sweep.conditions()) if condition not in met]


def _expand(block: Block, extra: Sequence[str], met: set[str]) -> list[list[str]]:
    """Return the same as :func:`expand`; add to ``met`` the conditions that some job meets."""
    if block.blocks:
        return [job for part in block.blocks for job in _expand(part.inherit(block), extra, met)]
    listed = {split(override)[0]: _values(override) for override in extra}
    fixed = {key: values[0] for key, values in listed.items() if len(values) == 1}
    swept = {key: values for key, values in listed.items() if len(values) > 1}
    grid = {key: listed.get(key) or [to_text(v) for v in values] for key, values in block.grid.items()}
    variants = [_point(settings, listed) for settings in block.variants]
    points = []
    if grid or variants or not block.single:
        points += _product([*_axes(grid | swept), *([variants] if variants else [])])
    for settings in block.single:
        points += [_point(settings, listed) | point for point in _product(_axes(swept))]
    shared = _point(block.overrides)
    when = {condition: _point(settings) for condition, settings in block.when.items()}
    jobs = []
    for point in points:
        job = shared | point
        for condition, settings in when.items():
            key, value = split(condition)
            actual = (job | fixed).get(key)
            if actual is not None and canonical(actual) == canonical(value):
                met.add(condition)
                job = job | settings | point
        jobs.append([f"{key}={value}" for key, value in (job | fixed).items()])
    return jobs


def _values(override: str) -> list[str]:
    """Return the values that an override of the command line gives to its key.

    Raises:
        ZooError: a sweep without a list of values.
    """
    key, value = split(override)
    if is_sweep(override) and key.lstrip("+").partition(".")[0] in NOT_IDENTITY:
        return [quote(value)]  # several values would give several jobs of the same run
    return swept_values(override)


def _point(settings: Settings, without: Container[str] = ()) -> Point:
    """Return settings as overrides, except those of the command line."""
    return {key: to_text(value) for key, value in settings.items() if key not in without}


def _axes(grid: Mapping[str, list[str]]) -> list[list[Point]]:
    return [[{key: value} for value in values] for key, values in grid.items()]


def _product(axes: list[list[Point]]) -> list[Point]:
    """Return the Cartesian product of the axes. Later axes win; no axes give one empty point."""
    return [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*axes)]
