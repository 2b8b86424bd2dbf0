"""Run a paper's table and report it: the check of the data, the runs that are missing, the verdicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from zoo.comparison.collect import Run
from zoo.config.overrides import split
from zoo.errors import ZooError
from zoo.record import SOUND
from zoo.reproduction import costs
from zoo.reproduction.check import Mismatch, Read, check_data, needed, stored
from zoo.reproduction.closed_form import Fingerprint
from zoo.reproduction.runs import (
    RUNS,
    Finder,
    RecipeRuns,
    check_overrides,
    data_of,
    data_places,
    directories,
    everything,
    overrides,
    write_sweep,
)
from zoo.reproduction.schema import Cell, Table
from zoo.reproduction.verdict import Result, judge
from zoo.sweep import run_sweep
from zoo.sweep.plan import Plan

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass
class Report:
    """A table with our values beside the published ones.

    Attributes:
        table: the table.
        results: one for each selected cell.
        warnings: records that were left out, a sentence each.
        fingerprints: the fits in closed form.
        runs: the runs of the table's recipes.
    """

    table: Table
    results: list[Result]
    warnings: list[str] = field(default_factory=list)
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)


def seconds(text: str) -> float:
    """Return the seconds of a duration such as ``30m``, ``2h`` or ``90``.

    Raises:
        ZooError: it is not a duration.

    >>> seconds("30m"), seconds("1.5h"), seconds("90")
    (1800.0, 5400.0, 90.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise ZooError(f"--budget is a time such as 30m, 2h or 90s; got '{text}'.")
    return float(match[1]) * _UNITS[match[2] or "s"]


def seed_list(text: str | None, own: Sequence[int]) -> list[int]:
    """Return the seeds that ``--seeds`` names: a number of seeds, or a list such as ``42,43``.

    A number beyond the recipe's own seeds goes on counting from its last one.

    Raises:
        ZooError: it is neither, or it may mean a number of seeds and one of the recipe's own seeds.

    >>> seed_list(None, [0, 1]), seed_list("1", [42, 43]), seed_list("3", [42, 43]), seed_list("7,", [0])
    ([0, 1], [42], [42, 43, 44], [7])
    """
    if text is None:
        return list(own)
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or ("," not in text and numbers[0] < 1):
        raise ZooError(f"--seeds is a number of seeds, at least 1, or a list such as 42,43; got '{text}'.")
    if "," in text:
        return list(dict.fromkeys(numbers))
    if numbers[0] > len(own) and numbers[0] in own:
        raise ZooError(
            f"--seeds {text} asks for {text} seeds; for the seed {text} alone add a comma: --seeds {text},"
        )
    more = range(own[-1] + 1, own[-1] + 1 + max(0, numbers[0] - len(own)))
    return [*own, *more][: numbers[0]]


def report(table: Table, cells: Sequence[Cell] | None = None, runs: Path | None = None) -> Report:
    """Return a table's cells with what has been run so far, here or in the committed results.

    Args:
        table: the table.
        cells: some of its cells; None: all.
        runs: directory of the runs; ``runs/reproduce/TABLE`` by default.
    """
    cells = table.cells if cells is None else cells
    columns = {cell.column for cell in cells}
    # a row with a single seed takes its spread over refits from another row of the column, selected or not
    related = [cell for cell in table.cells if cell.column in columns]
    every_run, warnings = everything(table, runs)
    by_recipe = recipe_runs(table, related, every_run)
    own = [by_recipe[key] for key in by_recipe if key in {cell.recipe for cell in cells}]
    for one in own:
        warnings += one.stale
    stored_fits = stored(directories(table, runs))
    fingerprints = {key: fit for key, fit in stored_fits.items() if key in table.closed_forms}
    needs = {key: _needs(table, key) for key in by_recipe}
    chosen = {id(run): run for one in own for run in [*one.full.values(), *one.partial.values()]}
    judged = judge(table, related, by_recipe, fingerprints, needs)
    names = {cell.name for cell in cells}
    results = [result for result in judged if result.cell.name in names]
    return Report(table, results, warnings, fingerprints, [*chosen.values()])


def _needs(table: Table, key: str) -> str:
    """Return what the runs of a recipe need, in words: hours, and files that zoo does not download."""
    name, cost = data_of(table.recipes[key]), costs.describe(table, key) or "to be run"
    return f"{cost} and the files of data={name}" if name in table.files else cost


def recipe_runs(table: Table, cells: Sequence[Cell], runs: Sequence[Run]) -> dict[str, RecipeRuns]:
    """Return the finished runs of the recipes of some cells, by the recipe's key."""
    keys = dict.fromkeys(cell.recipe for cell in cells if cell.recipe is not None)
    return Finder().sort(table, runs, keys)


def run_table(
    table: Table,
    cells: Sequence[Cell],
    read: Read,
    *,
    named: bool = False,
    seeds: str | None = None,
    budget: float | None = None,
    jobs: int | None = None,
    retry_failed: bool = False,
    extra: Sequence[str] = (),
    runs: Path | None = None,
    console: Console | None = None,
    check: Callable[[Plan, Sequence[Sequence[str]]], None] | None = None,
) -> list[str]:
    """Make the runs that some cells lack, after the check of their data.

    Returns:
        A sentence for each data set that is not here, whose runs were left out, and for each run that did not
        finish.

    Args:
        table: the table.
        cells: the cells.
        read: function that reads a data set from its overrides.
        named: whether the user named these cells, so that recipes for an accelerator run too.
        seeds: see :func:`seed_list`.
        budget: seconds of training after which each run ends; None: the whole recipe.
        jobs: number of jobs at a time.
        retry_failed: run failed jobs again.
        extra: overrides for every run: where and how it runs.
        runs: directory of the runs.
        console: where the progress is printed.
        check: checks the settings of all runs before the first is started, see :func:`run_sweep`.

    Raises:
        ZooError: the data are not the paper's, or an override would change a recipe.
    """
    console = console or Console()
    check_overrides(extra)
    root = runs or RUNS / table.name
    every_run, _ = everything(table, runs)
    todo = _missing(
        table, recipe_runs(table, cells, every_run), seeds, budget, named or accelerated(extra), retry_failed
    )
    place = data_places(extra)
    todo, absent = _with_data(table, todo, cells, lambda data: read([*data, *place]), root, console)
    if not todo:
        return absent
    for note in costs_of(table, todo, budget, accelerated(extra)):
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    file = write_sweep(table, todo, budget, root)
    _, made = run_sweep(
        str(file),
        list(extra),
        out=root,
        parallel=jobs,
        retry_failed=retry_failed,
        console=console,
        check=check,
    )
    return absent + [f"{job.identity.run_id}: {job.state}" for job in made if job.state not in SOUND]


def costs_of(
    table: Table, todo: Sequence[tuple[str, int]], budget: float | None, accelerated: bool
) -> list[str]:
    """Return what some runs will cost, a sentence for each recipe, before they start."""
    notes = []
    for key in dict.fromkeys(key for key, _ in todo):
        recipe, runs = table.recipes[key], sum(one == key for one, _ in todo)
        if budget is not None:
            cost = f"at most {costs.hours(budget * runs / 3600)} hours of training, cut short: no verdict"
        else:
            cost = costs.describe(table, key, runs) or "not counted yet"
        note = f"{key}: {runs} {'run' if runs == 1 else 'runs'}, {cost}"
        if recipe.accelerator and not accelerated:
            note += "; this recipe is meant for an accelerator, trainer=gpu"
        notes.append(note)
    return notes


def accelerated(extra: Sequence[str]) -> bool:
    """Whether overrides ask for an accelerator."""
    return dict(map(split, extra)).get("trainer") in ("gpu", "ddp")


def _missing(
    table: Table,
    by_recipe: Mapping[str, RecipeRuns],
    seeds: str | None,
    budget: float | None,
    accelerated: bool,
    retry_failed: bool,
) -> list[tuple[str, int]]:
    """Return the runs to be made, ``(key of recipe, seed)``; the recipes in the table's order."""
    todo = []
    for key, done in by_recipe.items():
        recipe = table.recipes[key]
        if done.missing or (recipe.accelerator and not accelerated):
            continue
        for seed in seed_list(seeds, recipe.seeds):
            run = done.full.get(seed) or (done.partial.get(seed) if budget is not None else None)
            again = run is None or (retry_failed and run.record.status == "failed")
            if run is not None and budget is not None and seed not in done.full:
                budgeted = run.record.provenance.config.get("training", {}).get("max_seconds")
                again = again or (budgeted or 0) < budget  # a longer budget than before
            if again:
                todo.append((key, seed))
    return todo


def _with_data(
    table: Table,
    todo: Sequence[tuple[str, int]],
    cells: Sequence[Cell],
    read: Read,
    root: Path,
    console: Console,
) -> tuple[list[tuple[str, int]], list[str]]:
    """Return the runs whose data are here, after their fingerprints were checked, and what is not here."""
    finder = Finder()
    keys = dict.fromkeys(key for key, _ in todo)
    data = {
        key: finder.identities.of(overrides(table.recipes[key], 0)).config["choices"]["data"] for key in keys
    }
    ways = {
        name: overrides(table.recipes[key], 0) for key, name in data.items()
    }  # a recipe's own data settings
    forms = needed(table, [{"data": name} for name in ways])
    forms += [cell.closed_form for cell in cells if cell.closed_form and cell.closed_form not in forms]
    absent: dict[str, str] = {}
    for name in dict.fromkeys([*ways, *(str(table.closed_forms[f].data.get("data")) for f in forms)]):
        fits = [form for form in forms if str(table.closed_forms[form].data.get("data")) == name]
        try:
            for form in fits:
                console.print(f"Checking {name}: {form}", highlight=False)
            if fits:
                check_data(table, fits, read, root)
            else:
                read(ways[name])
        except Mismatch:
            raise
        except ZooError as error:
            absent[name] = str(error)
            console.print(f"Left out, data={name}: {error}", highlight=False, markup=False, soft_wrap=True)
    return [(key, seed) for key, seed in todo if data[key] not in absent], [*absent.values()]
