"""A paper's table as data: every published value with its error, source and grade, and how its run is made.

The files are ``zoo/reproduction/tables/*.yaml``; a file of one's own is given by its path. Nothing here is a
result: a file is complete before anything is run, its margins of equivalence included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Gt, Len
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zoo.errors import ZooError, unknown
from zoo.kinds import Kind

# A, A3: the authors' or somebody else's repository was read; B: the paper; C: somebody's transcription;
# D: computed by zoo; M: recalled, and not read again.
Grade = Literal["A", "A3", "B", "C", "D", "M"]
Better = Literal["higher", "lower", "neither"]
# What a published error measures: the spread over test points of one fitted model, or over fitted models. The
# two are never merged.
ErrorKind = Literal[
    "standard error over test points",
    "two standard errors over test points",
    "deviation over runs",
    "standard error over runs",
    "unknown",
]
Touches = Literal["training", "data", "evaluation"]


class Part(BaseModel):
    """A part of a table's file; a setting that it does not have is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Source(Part):
    """Where published values or a recipe were read.

    Attributes:
        grade: how they were read.
        what: the repository, paper or note.
        commit: of the repository.
    """

    grade: Grade
    what: str
    commit: str | None = None


class Deviation(Part):
    """A known difference between the paper's recipe and ours.

    Attributes:
        what: the difference, in a sentence.
        touches: ``training``: a verdict carries *with deviations*. ``data``: the data are drawn anew, and the
            verdict is about such data. ``evaluation``: another number is measured, so there is no verdict.
    """

    what: str
    touches: Touches


class Witness(Part):
    """What an independent re-implementation obtained for a cell.

    Attributes:
        value: the number; None where ``text`` has several.
        text: the result as it was reported.
        source: key of a source.
    """

    source: str
    value: float | None = None
    text: str = ""


class Reading(Part):
    """Another reading of what a column measures, where the paper leaves it open.

    Attributes:
        what: the reading, in words.
        divide_by: number that the energy of paths is compared with, in place of the one of the record.
    """

    what: str
    divide_by: Annotated[float, Gt(0)]


class Suspect(Part):
    """What could explain a difference, and what a computation or a run said about it.

    Attributes:
        what: the suspect.
        finding: ``ruled out``, ``explains a part``, ``explains it`` or ``open``.
        by: the computation or run, and what it showed.
        columns: the columns concerned.
    """

    what: str
    finding: Literal["ruled out", "explains a part", "explains it", "open"]
    by: str
    columns: Annotated[list[str], Len(1)]


class Column(Part):
    """A column of the table.

    Attributes:
        metric: name of the metric in our records.
        factor: our metric times this is the paper's quantity: -1 makes a log-likelihood of an NLL.
        unit: of the paper's quantity.
        better: which values are better.
        kind: kind of the published likelihood, if the column is one. A value of ours of another kind is
            another quantity.
        margin: half-width of the range in which values count as equal, in ``unit``. Fixed before any run.
        margin_from: where the margin comes from.
        readings: other readings of what is measured: there is a verdict only if it is the same by all.
    """

    metric: str
    factor: float = 1.0
    unit: str = "nats"
    better: Better = "lower"
    kind: Kind | None = None
    margin: Annotated[float, Gt(0)]
    margin_from: Annotated[str, Len(1)]
    readings: list[Reading] = []


class Recipe(Part):
    """How the runs of some cells are made, one for each seed.

    Attributes:
        overrides: the overrides of ``zoo train``, first of all ``experiment``.
        seeds: one run each.
        seeded: settings that have the seed of the run as well, such as ``data.data_seed`` where the paper
            draws its data anew in each run.
        deviations: known differences from the paper's recipe; empty: the full recipe.
        accelerator: whether it needs one within reason; such runs start only when they are named, or with
            ``trainer=gpu``.
        use: share of an accelerator's float32 peak that its operations are assumed to reach: about 0.4 for
            transformers, 0.25 for wide convolutions, 0.1 for small networks and solvers.
        hours: estimated hours of one run on one core of a processor.
        note: what a reader should know.
    """

    overrides: dict[str, Any]
    seeds: Annotated[list[int], Len(1)] = [0]
    seeded: list[str] = []
    deviations: list[Deviation] = []
    accelerator: bool = False
    use: Annotated[float, Gt(0)] = 0.1
    hours: Annotated[float, Ge(0)] | None = None
    note: str = ""


class ClosedForm(Part):
    """A fit in closed form, which ``--check-data`` computes before anything is trained.

    Attributes:
        data: overrides of the data, first of all ``data``.
        fit: the density that is fitted to the training split and evaluated on the test split.
        value: what it must give, in nats for each test point, as a negative log-likelihood.
        tolerance: largest difference that rounding explains or, of data that are drawn anew, chance.
        source: where ``value`` comes from.
    """

    data: dict[str, Any]
    fit: Literal["gaussian", "class gaussians", "bernoulli"]
    value: float
    tolerance: Annotated[float, Gt(0)]
    source: str = ""


class Cell(Part):
    """A published value.

    Attributes:
        row: name of the row, without a slash.
        column: name of the column.
        value: the published number; None where it has not been read.
        error: the number behind the published ±.
        error_kind: what that number measures.
        error_runs: number of runs behind the published value.
        source: key of a source.
        grade: how the value was read.
        error_grade: how the error was read; None: like the value.
        recipe: key of the recipe whose runs give our value; None: none is written.
        closed_form: key of a fit in closed form that is this cell.
        needs: what is missing to run it: a model, a file, a recipe.
        deviations: more differences, of this cell alone.
        witnesses: what others obtained.
        selected_on_test: whether the paper chose epoch or setting on the test set.
        note: what a reader should know.
    """

    row: str
    column: str
    value: float | None = None
    error: Annotated[float, Ge(0)] | None = None
    error_kind: ErrorKind = "unknown"
    error_runs: Annotated[int, Ge(1)] = 1
    source: str
    grade: Grade
    error_grade: Grade | None = None
    recipe: str | None = None
    closed_form: str | None = None
    needs: str = ""
    deviations: list[Deviation] = []
    witnesses: list[Witness] = []
    selected_on_test: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """The cell's name on the command line: ``ROW/COLUMN``."""
        return f"{self.row}/{self.column}"

    @property
    def usable_error(self) -> float | None:
        """The published error, unless it was only recalled."""
        return None if (self.error_grade or self.grade) == "M" else self.error


class Table(Part):
    """A table of a paper.

    Attributes:
        title: short name, for headings.
        paper: authors, year, title and number of the table.
        data: the data and their preprocessing.
        protocol: how the paper evaluates.
        note: what a reader should know.
        cost: what the paper says of its own cost, where it does.
        sources: by key.
        columns: by name, in order.
        recipes: by key.
        closed_forms: by key; those of the data are checked before any training.
        files: the data sets whose files the user puts in place, since zoo does not download them.
        suspects: what could explain differences, and what is known about it.
        defaults: settings of every cell that does not have them itself.
        cells: the published values.
        name: the file's name, without its ending.
        given: what names the table on the command line: its name, or the path of a file of one's own.
    """

    title: str
    paper: str
    data: str = ""
    protocol: str = ""
    note: str = ""
    cost: str = ""
    sources: dict[str, Source]
    columns: Annotated[dict[str, Column], Len(1)]
    recipes: dict[str, Recipe] = {}
    closed_forms: dict[str, ClosedForm] = {}
    files: list[str] = []
    suspects: list[Suspect] = []
    defaults: dict[str, Any] = Field(default={}, exclude=True)
    cells: list[Cell]
    name: str
    given: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """Give every cell the settings that the table states once."""
        if not isinstance(values, Mapping) or not isinstance(values.get("cells"), list):
            return values
        shared = values.get("defaults") or {}
        cells = [{**shared, **cell} if isinstance(cell, Mapping) else cell for cell in values["cells"]]
        return {**values, "cells": cells}

    @model_validator(mode="after")
    def _names_exist(self) -> Table:
        seen = set()
        for cell in self.cells:
            if "/" in cell.row:
                raise ValueError(f"the row '{cell.row}' has a slash, which separates row and column")
            if cell.name in seen:
                raise ValueError(f"the cell '{cell.name}' stands there twice")
            seen.add(cell.name)
            references: list[tuple[str, str | None, Mapping[str, Any]]] = [
                ("column", cell.column, self.columns),
                ("source", cell.source, self.sources),
                ("recipe", cell.recipe, self.recipes),
                ("closed form", cell.closed_form, self.closed_forms),
                *(("source", witness.source, self.sources) for witness in cell.witnesses),
            ]
            for kind, name, known in references:
                if name is not None and name not in known:
                    raise ValueError(f"the cell '{cell.name}' names the {kind} '{name}', which is not there")
            if cell.grade != "M" and self.sources[cell.source].grade == "M":
                raise ValueError(f"the cell '{cell.name}' has grade {cell.grade}, but its source is recalled")
        for suspect in self.suspects:
            for column in suspect.columns:
                if column not in self.columns:
                    raise ValueError(
                        f"the suspect '{suspect.what}' names the column '{column}', which is not there"
                    )
        return self

    @property
    def rows(self) -> list[str]:
        """The names of the rows, in order."""
        return list(dict.fromkeys(cell.row for cell in self.cells))

    def select(self, only: str | None) -> list[Cell]:
        """Return the cells that ``--only`` names: ``ROW``, ``/COLUMN`` or ``ROW/COLUMN``; all for None.

        Raises:
            ZooError: no row or column has this name; the nearest ones are offered.
        """
        if only is None:
            return list(self.cells)
        row, slash, column = only.partition("/")
        if slash and not column:
            choice = f"the row is --only '{row}'" if row else "leave out --only for all cells"
            raise ZooError(f"--only '{only}' names no column after the slash; {choice}.")
        rows = [_resolve("row", self.name, row, self.rows)] if row else self.rows
        columns = [_resolve("column", self.name, column, self.columns)] if column else [*self.columns]
        chosen = [cell for cell in self.cells if cell.row in rows and cell.column in columns]
        if not chosen:
            raise ZooError(f"The table {self.name} has no cell '{only}': this row has no such column.")
        return chosen


def _resolve(kind: str, table: str, name: str, known: Any) -> str:
    """Return the known name that is ``name``, or the only one that begins with it; case does not matter.

    A beginning must not end within a number: ``N-VAE d=4`` does not stand for ``N-VAE d=40``.
    """
    folded = {key.casefold(): key for key in known}
    if name.casefold() in folded:
        return folded[name.casefold()]
    beginning = re.compile(re.escape(name.casefold()) + (r"(?![\d.])" if name[-1].isdigit() else ""))
    begins = [key for text, key in folded.items() if beginning.match(text)]
    if len(begins) == 1:
        return begins[0]
    raise unknown(f"{kind} of {table}", name, known)


FOLDER = Path(__file__).parent / "tables"


def names() -> list[str]:
    """Return the names of the shipped tables."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load(name: str) -> Table:
    """Return a table by its name or from a file of one's own, which ends in ``.yaml``.

    Raises:
        ZooError: there is no such table (the nearest names are offered), or its file is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        file = Path(name)
        if not file.is_file():
            raise ZooError(
                f"There is no file {name}; give a table's name (zoo reproduce list) or its YAML file."
            )
    else:
        file = FOLDER / f"{name}.yaml"
        if not file.is_file():
            raise unknown("table", name, names())
    try:
        values = yaml.load(
            file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ZooError(f"The table {file} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise ZooError(f"The table {file} must be a mapping of settings; see docs/add/paper_table.md.")
    try:
        return Table.model_validate({**values, "name": file.stem, "given": name})
    except ValidationError as error:
        raise _explain(error, file) from None


def _explain(error: ValidationError, file: Path) -> ZooError:
    """Return the first mistake in a table's file as one sentence."""
    mistake = error.errors()[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in mistake["loc"]).lstrip(
        "."
    )
    if mistake["type"] == "value_error":
        return ZooError(f"In the table {file}, {mistake['ctx']['error']}.")
    if mistake["type"] == "extra_forbidden":
        return ZooError(f"In the table {file}, {path} is not a setting; see docs/add/paper_table.md.")
    if mistake["type"] == "missing":
        return ZooError(f"In the table {file}, {path} is missing.")
    got = f"; got {mistake['input']!r}" if not isinstance(mistake["input"], Mapping | list) else ""
    message = mistake["msg"][0].lower() + mistake["msg"][1:]
    return ZooError(f"In the table {file}, {path}: {message}{got}.")
