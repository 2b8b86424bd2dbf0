"""A user's own table: continuous columns, standardised; discrete ones with uniform noise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from zoo.checks import Seed, checked
from zoo.data.columns import (
    Findings,
    Grid,
    examine,
    extremes,
    grid,
    moments,
    override,
    repeated_rows,
    standardised,
)
from zoo.data.frames import read_frame
from zoo.data.groups import DECIMAL
from zoo.data.spec import DataSpec
from zoo.data.user import (
    FEWEST,
    LABELS,
    UserData,
    check_labels,
    choose,
    existing,
    labels_beside,
    listed,
    load_arrays,
)
from zoo.errors import InvalidData, ZooError, unknown
from zoo.record import DataDescription

TEXT = "holds text or dates"
MOST_FRACTIONS = 20  # distinct values of a label that has fractions


class Table(UserData):
    """A table of numbers from text (csv and similar, also compressed), Excel, parquet, feather, npy or npz.

    In an ``.npz`` the array is called ``data`` or ``x`` (or anything, if it is the only one), or there are
    ``train``, ``val`` and ``test``; ``label`` may name another of its arrays. Every column is
    standardised by the training split's mean and deviation: the log-likelihood in the data's original units
    is lower by ``log_scale`` nats. The details of :meth:`describe` have the means and deviations;
    :func:`own_units` applies them to samples.

    Args:
        path: the file.
        header: whether the first row of a text or Excel file names the columns; None: decided by the rows.
        decimal: ``point`` or ``comma``, the mark before the decimals of text; None: decided by the cells.
        drop: names of columns to leave out.
        dequantise: names of discrete columns, to which uniform noise of one step of their grid is added once
            (keyed by ``split_seed``). On average, the log-density of the sum gives a lower bound of the
            discrete log-probability, as for the pixels of an image: log P(v) >= E log p(v + u) + log step.
        drop_repeats: whether to keep only the first of equal rows.
        label: name of a column of labels for conditional models; its values may be text.

    Raises:
        InvalidData: in :meth:`setup`: a column or row has no density (see :mod:`zoo.data.columns`), or a
            value is not a finite number.
    """

    @checked("data")
    def __init__(
        self,
        name: str = "table",
        *,
        root: str | Path | None = None,
        path: str | Path | None = None,
        header: bool | None = None,
        decimal: Literal["point", "comma"] | None = None,
        drop: Sequence[str | int] = (),
        dequantise: Sequence[str | int] = (),
        drop_repeats: bool = False,
        label: str | int | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: Seed = 0,
    ) -> None:
        super().__init__(
            name,
            root=root,
            path=path,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
        )
        self.header, self.drop_repeats = header, drop_repeats
        self.decimal = DECIMAL[decimal]
        self.drop, self.dequantise = [str(x) for x in drop], [str(x) for x in dequantise]
        self.label = None if label is None else str(label)
        self.columns: list[str] = []
        self.mean, self.std = np.zeros(0), np.ones(0)
        self.grids: dict[str, Grid] = {}
        self.classes: list[str] = []
        self._details: dict[str, Any] = {}

    def read(self) -> None:
        path = existing(self.path, self.name, "TABLE.csv")
        frames = self._frames(path)
        total = sum(map(len, frames.values()))
        if total < FEWEST:
            raise InvalidData(f"{path} holds {total} examples; give at least {FEWEST}.")
        frames, labels = self._chosen(frames, path)
        self.columns = list(next(iter(frames.values())).columns)
        arrays = _numbers(frames, path)
        far = extremes(arrays, self.columns)
        if far.problems:
            raise InvalidData(
                f"{path}: {'; '.join(far.problems[:8])}; correct these rows or leave columns out by "
                f"{override('drop', far.drop)}."
            )
        if self.drop_repeats:
            repeats = repeated_rows(np.concatenate(list(arrays.values())))
            arrays, labels = self.without_repeats(arrays, labels, repeats, "rows")
            self._details["repeated_rows_left_out"] = int(repeats.sum())
        findings = examine(np.concatenate(list(arrays.values())), self.columns, self.dequantise)
        if findings.problems:
            raise InvalidData(f"{path}: {findings.sentence()}")
        if findings.notes:
            self.notes.append(
                f"{path.name}: {'; '.join(findings.notes[:6])}: what repeats so has no density, and the nll "
                "can fall a little by a narrow peak there (data.drop leaves columns out)."
            )
        for column in self.dequantise:
            arrays = self._with_noise(arrays, self.columns.index(column), path)
        parts = self.split(arrays)
        train = parts["train"]
        if not len(train):
            raise InvalidData(f"The train split of {path} is empty; give more data.")
        constant = np.flatnonzero(train.min(0) == train.max(0))
        if len(constant):
            column = self.columns[constant[0]]
            raise InvalidData(
                f"{path}: column '{column}' has the same value in every training row, so it has no density; "
                f"leave it out by {override('drop', [column])}."
            )
        self.mean, self.std = moments(train)
        self.spec = DataSpec((train.shape[1],), classes=len(self.classes) or None)
        self.splits = {
            split: torch.from_numpy(standardised(x, self.mean, self.std)) for split, x in parts.items()
        }
        if labels:
            self.labels = {split: torch.from_numpy(y) for split, y in self.split(labels).items()}

    def _frames(self, path: Path) -> dict[str, pd.DataFrame]:
        """Return the table by split, or all of it under ``all``; record how it was read."""
        if path.suffix.lower() in (".npy", ".npz"):
            content = load_arrays(path)
            return self._from_arrays(content if isinstance(content, dict) else {"data": content}, path)
        if not path.is_file():
            raise ZooError(
                f"{path} is a folder; a table is one file (csv, parquet, feather, Excel, npy or npz)."
            )
        frame = read_frame(path, self.header, self.decimal)
        how = {
            True: "named by the first row (data.header=false takes it as data)",
            False: "without names (data.header=true takes the first row as names)",
            None: "named by the file",
        }[frame.header]
        shape = f"{len(frame.body)} rows of {frame.body.shape[1]} columns ({listed(frame.body.columns)})"
        self.notes += [f"{path.name}: {shape}, {how}.", *(f"{path.name}: {x}." for x in frame.notes)]
        self._details |= {"header": frame.header} if frame.header is not None else {}
        return {"all": frame.body}

    def _from_arrays(self, named: dict[str, np.ndarray], path: Path) -> dict[str, pd.DataFrame]:
        """Return the table from NumPy arrays, with the array that ``label`` names as a column."""
        chosen = choose(named, ("data", "x"), path)
        arrays = {split: _checked(named[key], path, split) for split, key in chosen.items()}
        widths = {split: x.shape[1] for split, x in arrays.items()}
        if len(set(widths.values())) > 1:
            raise InvalidData(f"The splits in {path} differ in their number of columns: {widths}.")
        names = [str(i) for i in range(next(iter(widths.values())))]
        frames = {split: pd.DataFrame(x, columns=pd.Index(names)) for split, x in arrays.items()}
        used = set(chosen.values())
        if self.label is not None and self.label not in names:
            labels = labels_beside(named, chosen, (self.label,))
            for split, key in labels.items():
                frames[split][self.label] = check_labels(named[key], len(frames[split]), f"{path} ({key})")
            used |= set(labels.values())
        self.note_left_out(path, named, used)
        return frames

    def label_advice(self, path: Path, arrays: Mapping[str, np.ndarray], left: Sequence[str]) -> str:
        chosen = choose(arrays, ("data", "x"), path)
        words = [w for w in (*LABELS, *left) if set(labels_beside(arrays, chosen, (w,)).values()) & set(left)]
        word = next(iter(words), None)
        if self.label is not None or word is None:
            return ""
        exact = (
            word if word in arrays or "all" not in chosen else labels_beside(arrays, chosen, (word,))["all"]
        )
        return f" (data.label={exact} takes it as the classes of conditional models)"

    def _chosen(
        self, frames: dict[str, pd.DataFrame], path: Path
    ) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:
        """Return the modelled columns and, if there are labels, the labels by split."""
        known = list(next(iter(frames.values())).columns)
        named = [*self.drop, *self.dequantise, *([] if self.label is None else [self.label])]
        for column in named:
            if column not in known:
                raise unknown(f"column of {path.name}", column, known)
            if named.count(column) > 1:
                raise ZooError(
                    f"Column '{column}' is named twice in data.drop, data.dequantise and data.label."
                )
        labels: dict[str, np.ndarray] = {}
        if self.label is not None:
            column = pd.concat([frame[self.label] for frame in frames.values()])
            if column.isna().any():
                raise InvalidData(
                    f"{path}: {int(column.isna().sum())} rows have no label in column '{self.label}'; "
                    "label or remove them."
                )
            column = _as_label(column, self.label, path)
            codes, values = pd.factorize(column, sort=True)
            self.classes = [str(value) for value in values]
            ends = np.cumsum([len(frame) for frame in frames.values()])[:-1]
            labels = dict(zip(frames, np.split(codes.astype(np.int64), ends), strict=True))
        out = {*self.drop, self.label}
        left = [column for column in known if column not in out]
        if not left:
            raise ZooError(f"{path} has no column left to model; drop fewer.")
        return {key: frame[left] for key, frame in frames.items()}, labels

    def _with_noise(self, arrays: dict[str, np.ndarray], index: int, path: Path) -> dict[str, np.ndarray]:
        """Return the table with uniform noise of one step added to a column."""
        column = self.columns[index]
        spacing = grid(np.concatenate([x[:, index] for x in arrays.values()]))
        if spacing is None:
            raise InvalidData(
                f"{path}: column '{column}' has no values at equal steps, to which uniform noise could be "
                f"added; leave it out by {override('drop', [column])}."
            )
        self.grids[column] = spacing
        noisy = {}
        for key, x in arrays.items():
            seed = hashlib.sha256(f"{self.split_seed} {key} {column}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(seed[:7]))
            noise = torch.rand(len(x), generator=generator, dtype=torch.float64).numpy()
            noisy[key] = x.copy()
            noisy[key][:, index] = spacing.lowest + (spacing.nearest(x[:, index]) + noise) * spacing.step
        return noisy

    def describe(self) -> DataDescription:
        described = super().describe()
        described.details |= {
            "standardised": "by mean and deviation of the training split",
            "log_scale": float(np.log(self.std).sum()),
            "columns": self.columns,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            **self._details,
        }
        if self.drop:
            described.details["left_out"] = self.drop
        if self.grids:
            described.details["dequantised"] = {
                column: {"lowest": spacing.lowest, "step": spacing.step}
                for column, spacing in self.grids.items()
            }
        if self.label is not None:
            described.details |= {"label": self.label, "classes": self.classes}
        return described


def own_units(samples: np.ndarray, details: Mapping[str, Any]) -> pd.DataFrame:
    """Return samples ``(N, D)`` of a model in the units and columns of its table.

    Dequantised columns are rounded down to the values of their grid.

    Args:
        samples: samples in the model's standardised units.
        details: details of the data in the record.

    Raises:
        ZooError: the details lack the columns, or their means and deviations.
    """
    try:
        columns = [str(column) for column in details["columns"]]
        mean, std = (np.asarray(details[key], dtype=np.float64) for key in ("mean", "std"))
        x = samples.astype(np.float64) * std + mean
        grids = {column: Grid(**spacing) for column, spacing in details.get("dequantised", {}).items()}
        frame = pd.DataFrame(x, columns=pd.Index(columns))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ZooError(
            "The record does not say mean and deviation of every column, which lead back to the table's own "
            "units; train the run again, or write standardised samples with -o FILE.npy."
        ) from error
    for column, spacing in grids.items():
        frame[column] = spacing.values(spacing.index(frame[column].to_numpy()))
    return frame


def _checked(x: np.ndarray, path: Path, key: str) -> np.ndarray:
    """Return a table's array after checking that it is real, of shape (rows, columns)."""
    if x.dtype.names and x.ndim == 1:
        raise InvalidData(
            f"{path} ({key}) holds records with the fields {listed(x.dtype.names)}; save a table of numbers, "
            "(rows, columns), or csv."
        )
    if x.dtype.kind not in "buif":
        raise InvalidData(f"{path} ({key}) holds {x.dtype} values; a table holds real numbers.")
    if x.ndim != 2 or not x.shape[1]:
        raise InvalidData(f"{path} ({key}) has the shape {x.shape}; a table is (rows, columns).")
    return x


def _as_label(column: pd.Series, name: str, path: Path) -> pd.Series:
    """Return a column of labels, as text if its values are of several types.

    Raises:
        InvalidData: it holds lists, measurements, or hardly fewer values than rows.
    """
    if column.map(lambda value: isinstance(value, list | dict | set | np.ndarray)).any():
        raise InvalidData(
            f"{path}: column '{name}' {_content(column)}, which are no labels; give another data.label."
        )
    count = column.nunique()
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    fractions = is_number and bool((column.astype(float) % 1 != 0).any())
    if count > MOST_FRACTIONS if fractions else 4 * count > len(column) and count > 2:
        raise InvalidData(
            f"{path}: column '{name}' has {count} distinct values in {len(column)} rows, which are no labels "
            f"of classes; give another data.label, or leave the setting out to model the column."
        )
    return column.astype(str) if column.map(type).nunique() > 1 and not is_number else column


def _content(column: pd.Series) -> str:
    """Return what a column of objects holds, in words."""
    kinds: dict[type | tuple[type, ...], str] = {
        (list, np.ndarray): "holds lists",
        tuple: "holds tuples",
        dict: "holds mappings",
        (set, frozenset): "holds sets",
        (bytes, bytearray): "holds bytes",
        complex: "holds complex numbers",
    }
    for value in column.dropna().head(1000):
        for kind, words in kinds.items():
            if isinstance(value, kind):
                return words
    return ""


def _shown(value: Any) -> str:
    """Return a cell as an error message shows it, cut to 40 characters."""
    if isinstance(value, str):
        text = f"'{value}'"
    elif pd.api.types.is_scalar(value) and pd.isna(value):
        return "missing"
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."


def _numbers(frames: Mapping[str, pd.DataFrame], path: Path) -> dict[str, np.ndarray]:
    """Return the table's splits as float64.

    Raises:
        InvalidData: a column has text, dates or other values that are not finite numbers.
    """
    findings = Findings()
    texts = 0
    arrays: dict[str, np.ndarray] = {}
    for key, frame in frames.items():
        where = "" if key == "all" else f" of {key}"
        columns = []
        for name in frame.columns:
            values, kind = _column(frame[name])
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad) and name not in findings.drop:
                raw = frame[name].iloc[bad[0]]
                first = _shown(raw)
                problem = kind if kind else f"has {len(bad)} values that are not finite numbers"
                if len(bad) == 1 and not kind:
                    problem = "has 1 value that is not a finite number"
                findings.problems.append(f"column '{name}' {problem} (row {bad[0] + 1}{where} is {first})")
                findings.drop.append(str(name))
                texts += kind == TEXT
            columns.append(values)
        arrays[key] = np.stack(columns, 1) if len(frame) else np.zeros((0, frame.shape[1]))
    if findings.problems:
        shown = "; ".join(findings.problems[:8]) + ("; and more" if len(findings.problems) > 8 else "")
        if texts == next(iter(frames.values())).shape[1]:
            raise InvalidData(
                f"{path} holds no numbers ({shown}); a table has commas, semicolons, tabs, bars or blanks "
                "between its cells and numbers below its names."
            )
        every = set(findings.drop) == {str(name) for name in next(iter(frames.values())).columns}
        advice = (
            "so correct these rows or remove them from the file, as a line of totals at its end"
            if every  # without all its columns no table would be left
            else f"so correct these rows or leave columns out by {override('drop', findings.drop)}"
        )
        raise InvalidData(f"{path}: {shown}; every value must be a finite number, {advice}.")
    return arrays


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def _column(column: pd.Series) -> tuple[np.ndarray, str]:
    """Return a column as float64 with NaN for other values, and its kind if it does not hold numbers."""
    if pd.api.types.is_complex_dtype(column):
        return np.full(len(column), np.nan), "holds complex numbers"
    if pd.api.types.is_numeric_dtype(column):  # including truth values and columns with gaps
        return column.to_numpy(dtype=np.float64, na_value=np.nan), ""
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return np.full(len(column), np.nan), "holds dates or times"
    objects = column.astype(object)
    content = _content(objects)
    if content:
        return np.full(len(column), np.nan), content
    try:
        values = pd.to_numeric(objects, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError):
        values = np.array([_float(value) for value in objects])
    numbers = int(np.isfinite(values).sum())
    texts = int((column.notna().to_numpy() & ~np.isfinite(values)).sum())
    if texts == 0 and numbers:
        return values, ""
    return values, TEXT if texts > numbers else ""
