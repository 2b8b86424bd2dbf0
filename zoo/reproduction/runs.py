"""The runs behind a table's cells: which record belongs to which recipe, and the sweep of the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zoo.comparison.archive import pack_runs
from zoo.comparison.collect import Run, collect
from zoo.comparison.packed import unpacked
from zoo.config import options
from zoo.config.identities import Identities
from zoo.config.overrides import split, to_text
from zoo.config.places import search_path
from zoo.errors import ZooError, unknown
from zoo.record import CURVES, LIKELIHOOD, RECORD, write_atomic
from zoo.reproduction.schema import Recipe, Table

# The settings that say how long a run may become, and how often it is validated until then.
LIMIT = ("training.updates", "training.validations")
BUDGET = "training.max_seconds"
RUNS, RESULTS = Path("runs/reproduce"), Path("results/papers")
PACKED = "records.tar.xz"  # the file into which a table's records are packed, see :func:`pack`
KEPT = (RECORD, CURVES, LIKELIHOOD)  # the files that are packed of each run
# Sections of a configuration that say where and how a run was made. They change no more than rounding.
PLACES = ("trainer",)
# What may be set for all runs of a table: everything else would change the paper's recipe.
ALLOWED = ("data.root", "trainer", "logger", "launcher", "hydra", "evaluation.dinov2_weights")


@dataclass
class RecipeRuns:
    """The runs that have been made for a recipe.

    Attributes:
        full: run of each seed at the recipe's whole budget.
        partial: run of each seed under a budget of time that ended it early.
        stale: sentences, one for each seed whose runs were all made with other settings than the recipe's.
        missing: why the recipe cannot be composed; empty if it can.
    """

    full: dict[int, Run] = field(default_factory=dict)
    partial: dict[int, Run] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    missing: str = ""


def directories(table: Table, runs: Path | None = None) -> list[Path]:
    """Return the directories that may hold runs of a table: the working one, then the committed records."""
    places = [runs or RUNS / table.name, RESULTS / table.name]
    return [place for place in places if place.is_dir()]


def everything(table: Table, runs: Path | None = None) -> tuple[list[Run], list[str]]:
    """Return the runs that may belong to a table, and a sentence for each record of its own that is left out.

    They lie in the table's own directories or, since two tables may share a recipe, in those of another one.
    """
    every_run, warnings = find(directories(table, runs))
    others = [] if runs is not None else [place for place in (RUNS, RESULTS) if place.is_dir()]
    known = {run.record.run_id for run in every_run}
    return every_run + [run for run in find(others)[0] if run.record.run_id not in known], warnings


def find(places: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Return the runs below some directories, packed ones too, and a sentence for each that is left out."""
    if not places:
        return [], []
    opened, damaged = [], []
    for file in (file for place in places for file in sorted(place.rglob(PACKED))):
        try:
            opened.append(unpacked(file))
        except ZooError as error:
            damaged.append(str(error))
    try:
        runs, warnings = collect([*places, *opened])
    except ZooError as error:  # no readable record at all
        return [], [*damaged, *([str(error)] if "(" in str(error) else [])]
    return runs, [*damaged, *warnings]


def pack(runs: Sequence[Run], folder: Path) -> None:
    """Write what a report is made of into one file in ``folder``; the runs in it already remain.

    That is each run's record, curves and log-likelihoods, without its samples.

    Raises:
        ZooError: the file is there and damaged.
    """
    file = folder / PACKED
    known = collect([file])[0] if file.exists() else []
    pack_runs([*{run.record.run_id: run for run in [*known, *runs]}.values()], file, KEPT)


def overrides(recipe: Recipe, seed: int, budget: float | None = None) -> list[str]:
    """Return the overrides of one run of a recipe.

    Args:
        recipe: the recipe.
        seed: of the run.
        budget: seconds of training after which it ends; None: the recipe's whole budget.
    """
    return [f"{key}={to_text(value)}" for key, value in settings(recipe, seed, budget).items()]


def settings(recipe: Recipe, seed: int, budget: float | None = None) -> dict[str, Any]:
    """Return the settings of one run of a recipe by name, see :func:`overrides`."""
    own = recipe.overrides | dict.fromkeys(recipe.seeded, seed) | {"seed": seed}
    return own if budget is None else own | {BUDGET: float(budget)}


def absent(recipe: Recipe) -> str:
    """Return which file of ``conf/`` a recipe still lacks, in words; empty if it has all."""
    for group in ("experiment", "model", "data"):
        name = recipe.overrides.get(group)
        if name is not None and str(name) not in options(group):
            return f"{group} {name}"
    return ""


def data_of(recipe: Recipe) -> str:
    """Return the name of a recipe's data set; empty if the recipe leaves the choice to the configuration."""
    own = recipe.overrides.get("data")
    if own is not None:
        return str(own)
    for root in search_path():
        file = root / "experiment" / f"{recipe.overrides.get('experiment')}.yaml"
        if file.exists():
            chosen = re.search(r"^ *- override /data: *(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
            return chosen[1] if chosen else ""
    return ""


class Finder:
    """Sorts runs by the recipe that they belong to.

    A record belongs to a recipe if its settings are the recipe's, except for the machine's (``trainer``). A
    run from before zoo gained a setting has its default, so it belongs to the recipes that leave it there.
    So does a run that early stopping ended under another limit of updates, see :func:`stopped_alike`.
    """

    def __init__(self) -> None:
        self.identities = Identities()

    def sort(self, table: Table, runs: Sequence[Run], keys: Iterable[str]) -> dict[str, RecipeRuns]:
        """Return the finished runs of each of some recipes, by the recipe's key."""
        return {key: self._recipe_runs(table, key, runs) for key in keys}

    def _defaults(self, expected: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that the model and the data of a recipe have by default."""
        return self.identities.of([f"{group}={name}" for group, name in expected["choices"].items()]).config

    def _recipe_runs(self, table: Table, key: str, runs: Sequence[Run]) -> RecipeRuns:
        recipe, of_recipe = table.recipes[key], RecipeRuns()
        of_recipe.missing = absent(recipe)
        runs = [run for run in runs if chosen_alike(run, recipe)]
        if of_recipe.missing or not runs:
            return of_recipe
        seeds = {run.record.seed for run in runs}
        of_seed = {seed: self.identities.of(overrides(recipe, seed)).config for seed in seeds}
        defaults = self._defaults(next(iter(of_seed.values())))
        stale: dict[int, str] = {}
        for run in runs:
            config, expected = run.record.provenance.config, of_seed[run.record.seed]
            if config.get("choices") != expected.get("choices"):
                continue
            changes = list(differences(config, expected, defaults))
            if stopped_alike(run, expected):
                changes = [change for change in changes if change[0] not in LIMIT]
            short = [path for path, _, _ in changes if path == BUDGET]
            others = [change for change in changes if change[0] != BUDGET]
            if others:
                if named(run, table, recipe):
                    stale[run.record.seed] = stale_sentence(run, others)
                continue
            runs_of_seed = of_recipe.partial if short and cut_short(run) else of_recipe.full
            seconds = run.record.cost.train_seconds or 0.0
            known = runs_of_seed.get(run.record.seed)
            if known is None or seconds > (known.record.cost.train_seconds or 0.0):
                runs_of_seed[run.record.seed] = run
        of_recipe.stale = [text for seed, text in stale.items() if seed not in of_recipe.full]
        return of_recipe


def chosen_alike(run: Run, recipe: Recipe) -> bool:
    """Whether a run has the model and the data that a recipe names; for others nothing is composed."""
    choices = run.record.provenance.config.get("choices") or {}
    groups = [group for group in ("model", "data") if group in recipe.overrides]
    return all(choices.get(group) == str(recipe.overrides[group]) for group in groups)


def named(run: Run, table: Table, recipe: Recipe) -> bool:
    """Whether a run was made by ``zoo reproduce`` for this recipe, as its overrides say."""
    overridden = {key.lstrip("+"): value for key, value in map(split, run.record.provenance.overrides or [])}
    stated = dict(map(split, overrides(recipe, run.record.seed)))
    return overridden.get("sweep") == table.name and all(
        overridden.get(key.lstrip("+")) == value for key, value in stated.items()
    )


def stale_sentence(run: Run, changes: Sequence[tuple[str, Any, Any]]) -> str:
    """Return the sentence that says why a run does not count any more."""
    path, was, now = changes[0]
    more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
    return (
        f"{run.record.run_id} is left out: it was made with {path}={was}, the recipe now has {now}{more}; "
        "the same command makes it again"
    )


def stopped_alike(run: Run, expected: Mapping[str, Any]) -> bool:
    """Whether a run would have been the same under the limit of updates in ``expected``.

    So it is if early stopping ended it before either limit, the rate does not follow the limit (a constant
    schedule), and validations are as many updates apart.
    """
    ours, theirs = run.record.provenance.config.get("training", {}), expected.get("training", {})
    limits = [part.get("updates") for part in (ours, theirs)]
    checks = [part.get("validations") for part in (ours, theirs)]
    done = run.record.cost.updates
    if done is None or not all(limits) or not all(checks) or ours.get("patience") is None:
        return False
    apart = {limit // check for limit, check in zip(limits, checks, strict=True)}
    return ours.get("schedule") == "constant" and done < min(limits) and len(apart) == 1


def cut_short(run: Run) -> bool:
    """Whether a budget of time ended a run before its updates were used up."""
    budget = run.record.provenance.config.get("training", {}).get("updates")
    done = run.record.cost.updates
    return done is None or budget is None or done < budget


def differences(
    config: Mapping[str, Any],
    expected: Mapping[str, Any],
    defaults: Mapping[str, Any],
    prefix: str = "",
) -> Iterable[tuple[str, Any, Any]]:
    """Yield ``(path, value, expected value)`` of each setting in which two configurations differ.

    Args:
        config: what a run was made with.
        expected: the recipe. Settings that it does not have are ignored.
        defaults: values of the settings that ``config`` does not have, because zoo gained them later; a
            setting that is missing here too counts as equal.
        prefix: what all paths begin with.
    """
    for key, other in expected.items():
        path = f"{prefix}{key}"
        if path in PLACES:
            continue
        default = defaults.get(key, other)
        value = config.get(key, default)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from differences(value, other, default if isinstance(default, Mapping) else {}, f"{path}.")
        elif value != other:
            yield path, value, other


def check_overrides(extra: Sequence[str]) -> None:
    """Check that overrides for all runs of a table leave the recipes as they are.

    Raises:
        ZooError: one of them would change a recipe.
    """
    for text in extra:
        key = split(text)[0].lstrip("+~")
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in ALLOWED):
            if key in ("seed", BUDGET):
                option = "--seeds N" if key == "seed" else "--budget 30m"
                raise ZooError(f"'{text}' is written as {option} here.")
            if "=" not in text:
                raise unknown(
                    "option", text, ["--only", "--seeds", "--budget", "--report-only", "--check-data"]
                )
            raise ZooError(
                f"'{text}' would change the paper's recipe; zoo reproduce takes {', '.join(ALLOWED[:4])}. "
                "Shorten runs by --budget, or train a variation of your own by zoo train."
            )


def data_places(extra: Sequence[str]) -> list[str]:
    """Return those of some overrides that say where the data lie."""
    return [text for text in extra if split(text)[0] == "data.root"]


def write_sweep(table: Table, jobs: Sequence[tuple[str, int]], budget: float | None, folder: Path) -> Path:
    """Write the sweep of some runs, ``(key of recipe, seed)``, and return its file.

    The file is named like the table, so that the records name it too.
    """
    points = [settings(table.recipes[key], seed, budget) for key, seed in jobs]
    content = {"description": f"Runs of {table.paper}.", "list": points}
    return write_atomic(
        folder / f"{table.name}.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    )
