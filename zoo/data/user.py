"""A user's own data: pictures and tables.

Both are split once, at random with ``split_seed`` (by default 80/10/10), unless an ``.npz`` holds the arrays
``train``, ``val`` and ``test``. If it has no ``val`` or ``test``, that split is drawn from the training
examples.
"""

from __future__ import annotations

import csv
import dataclasses
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from zoo.data.module import SPLITS, DataModule
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, ZooError
from zoo.record import DataDescription

FEWEST = 10
PICTURES = (".png", ".jpg", ".jpeg")


def _existing(path: str | None, name: str, example: str) -> Path:
    """Return the path of the user's data."""
    if not path:
        raise ZooError(f"data={name} needs the path of your data; give data.path={example}.")
    found = Path(path).expanduser()
    if not found.exists():
        raise ZooError(f"There is no {found.absolute()}; give an existing data.path=, such as {example}.")
    return found


def _load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array of an ``.npy``, or the arrays of an ``.npz`` by name."""
    try:
        with open(path, "rb") as file:
            content = np.load(file, allow_pickle=False)
            return content if isinstance(content, np.ndarray) else {key: content[key] for key in content}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ZooError(f"{path} cannot be read as numbers ({error}); write it with numpy.save(z).") from error


def _choose(arrays: Mapping[str, np.ndarray], names: tuple[str, ...], path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` by split, or its only array under ``all``."""
    splits = {s: arrays[key] for s in SPLITS for key in (s, f"x_{s}") if key in arrays}
    if "train" in splits:
        return splits
    for name in (*names, *(arrays if len(arrays) == 1 else ())):
        if name in arrays:
            return {"all": arrays[name]}
    raise InvalidData(
        f"{path} holds the arrays {', '.join(arrays) or '(none)'}; name the data {names[0]}, "
        "or train, val and test."
    )


class _UserData(DataModule):
    """Base class of a user's data: the checks of its settings and the splits."""

    def __init__(
        self,
        name: str,
        root: str | None,
        path: str | None,
        val_fraction: float,
        test_fraction: float,
        split_seed: int,
    ) -> None:
        super().__init__(name, root)
        self.path = path
        self.fractions = {"val": float(val_fraction), "test": float(test_fraction)}
        self.split_seed = int(split_seed)
        if min(self.fractions.values()) <= 0 or sum(self.fractions.values()) >= 1:
            raise ZooError(
                "data.val_fraction and data.test_fraction must be above 0 and together below 1; "
                f"got {val_fraction} and {test_fraction}."
            )

    def _split(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return ``train``, ``val`` and ``test``, made from some of them or ``all``; set the split rule."""
        rest = arrays.get("train", arrays.get("all", np.zeros(0)))
        if sum(len(x) for x in arrays.values()) < FEWEST:
            count = sum(len(x) for x in arrays.values())
            raise InvalidData(f"{self.path} holds {count} examples; give at least {FEWEST}.")
        missing = [split for split in ("val", "test") if split not in arrays]
        if not missing:
            self.split_rule = "as given"
            return {split: arrays[split] for split in SPLITS}
        n = len(rest)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.split_seed)).numpy()
        sizes = {split: max(1, round(n * self.fractions[split])) for split in missing}
        if n - sum(sizes.values()) < 1:
            raise InvalidData(f"{self.path} leaves nothing to train on; give more data or smaller fractions.")
        parts, end = dict(arrays), n
        for split in reversed(missing):
            parts[split] = rest[np.sort(order[end - sizes[split] : end])]
            end -= sizes[split]
        parts["train"] = rest[np.sort(order[:end])]
        shares = " and ".join(f"{self.fractions[split]:g} for {split}" for split in missing)
        self.split_rule = f"at random with seed {self.split_seed}: {shares}" + (
            "" if len(missing) == 2 else ", the other as given"
        )
        return {split: parts[split] for split in SPLITS}


class Images(_UserData):
    """A folder tree of png and jpg files, or an ``.npy``/``.npz`` of integers.

    Arrays are ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` with ``C`` 1 or 3; in an ``.npz`` they are
    called ``images`` (or anything, if it is the only array), or ``train``, ``val``, ``test``.

    Args:
        path: the folder or file.
        size: side to which every picture is scaled and centre-cropped; needed if the pictures differ in size.
        levels: number of levels, 2..256. The 8-bit values of files are reduced to it; arrays must hold
            ``0 .. levels-1``.
        grey: True and False convert to grey and to colour; ``auto`` is grey if every picture is grey.
    """

    def __init__(
        self,
        name: str = "images",
        root: str | None = None,
        path: str | None = None,
        size: int | None = None,
        levels: int = 256,
        grey: bool | Literal["auto"] = "auto",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        super().__init__(name, root, path, val_fraction, test_fraction, split_seed)
        if not 2 <= levels <= 256:
            raise ZooError(f"data.levels must be from 2 to 256; got {levels}.")
        if size is not None and size < 1:
            raise ZooError(f"data.size must be at least 1; got {size}.")
        if grey not in (True, False, "auto"):
            raise ZooError(f"data.grey must be true, false or auto; got {grey}.")
        self.size, self.levels, self.grey = size, int(levels), grey

    def read(self) -> None:
        path = _existing(self.path, self.name, "FOLDER_OF_PICTURES")
        if path.is_dir():
            arrays = {"all": self._folder(path)}
        elif path.suffix.lower() in (".npy", ".npz"):
            content = _load(path)
            named = content if isinstance(content, dict) else {"images": content}
            chosen = _choose(named, ("images", "x"), path)
            arrays = {
                key: self._array(x, f"{path} ({key})" if len(chosen) > 1 else str(path))
                for key, x in chosen.items()
            }
        else:
            raise ZooError(f"{path} is neither a folder of png and jpg files nor an .npy or .npz file.")
        shapes = {key: x.shape[1:] for key, x in arrays.items()}
        if len(set(shapes.values())) > 1:
            raise InvalidData(f"The splits in {path} differ in shape (C, H, W): {shapes}.")
        self.splits = {key: torch.from_numpy(x) for key, x in self._split(arrays).items()}
        self.spec = DataSpec(tuple(self.splits["train"].shape[1:]), levels=self.levels)
        self.natural = self.spec.shape[0] == 3 and self.levels == 256

    def _folder(self, folder: Path) -> np.ndarray:
        """Return images ``(N, C, H, W)`` as uint8, in the order of the sorted paths."""
        from PIL import Image, ImageOps

        files = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in PICTURES
            and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        )
        if not files:
            raise InvalidData(f"There is no {', '.join(PICTURES)} file in {folder} or below it.")
        pictures: list[Image.Image] = []
        all_grey = True
        for file in files:
            try:
                with Image.open(file) as opened:
                    picture = ImageOps.exif_transpose(opened)
                    picture.load()
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                raise InvalidData(
                    f"{file} cannot be read as a picture ({error}); remove or mend it."
                ) from error
            if picture.mode.startswith(("I", "F")):
                raise InvalidData(f"{file} has more than 8 bits a channel; convert it to 8.")
            all_grey &= picture.mode in ("1", "L", "LA")
            if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
                picture = picture.convert("RGBA")  # transparent pictures on white, as viewers show them
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            if self.size is None and pictures and picture.size != pictures[0].size:
                (w0, h0), (w, h) = pictures[0].size, picture.size
                raise InvalidData(
                    f"The pictures differ in size: {files[0]} is {w0}x{h0}, {file} is {w}x{h}; "
                    "give data.size= to scale and crop them all."
                )
            if picture.mode not in ("1", "L"):
                picture = picture.convert("RGB")
            if self.size is not None:
                picture = ImageOps.fit(
                    picture.convert("L" if picture.mode == "1" else picture.mode),
                    (self.size, self.size),
                    Image.Resampling.LANCZOS,
                )
            pictures.append(picture)
        mode = "L" if (all_grey if self.grey == "auto" else self.grey) else "RGB"
        stack = np.stack([np.asarray(picture.convert(mode)) for picture in pictures])
        if self.levels < 256:
            stack = (stack.astype(np.uint16) * self.levels // 256).astype(np.uint8)
        return np.ascontiguousarray(stack[:, None] if mode == "L" else stack.transpose(0, 3, 1, 2))

    def _array(self, x: np.ndarray, where: str) -> np.ndarray:
        """Return images ``(N, C, H, W)`` as uint8 from an array in any of the layouts."""
        if x.dtype.kind not in "bui":
            raise InvalidData(
                f"{where} holds {x.dtype} values; pixels are integers (uint8) in 0..{self.levels - 1}."
            )
        if x.ndim == 3:
            x = x[:, None]
        elif x.ndim == 4 and x.shape[-1] in (1, 3):
            x = x.transpose(0, 3, 1, 2)
        elif x.ndim != 4 or x.shape[1] not in (1, 3):
            raise InvalidData(
                f"{where} has the shape {x.shape}; images are (N, H, W), (N, H, W, C) or (N, C, H, W) "
                "with C 1 or 3."
            )
        if x.size and not (x.min() >= 0 and x.max() < self.levels):
            raise InvalidData(
                f"{where} holds pixels from {x.min()} to {x.max()}; with data.levels={self.levels} "
                f"they are in 0..{self.levels - 1}."
            )
        x = x.astype(np.uint8)
        if self.grey is True and x.shape[1] == 3:
            luma = np.tensordot(np.array([0.299, 0.587, 0.114]), x.astype(np.float64), (0, 1))
            x = np.floor(luma + 0.5).astype(np.uint8)[:, None]
        elif self.grey is False and x.shape[1] == 1:
            x = x.repeat(3, 1)
        if self.size is not None and x.shape[2:] != (self.size, self.size) and len(x):
            x = np.stack([self._fit(image) for image in x])
        return np.ascontiguousarray(x)

    def _fit(self, image: np.ndarray) -> np.ndarray:
        """Return one image ``(C, H, W)``, scaled and cropped."""
        from PIL import Image, ImageOps

        assert self.size is not None
        channels = [
            ImageOps.fit(Image.fromarray(channel), (self.size, self.size), Image.Resampling.LANCZOS)
            for channel in image
        ]
        return np.minimum(np.stack([np.asarray(channel) for channel in channels]), self.levels - 1)

    def describe(self) -> DataDescription:
        return dataclasses.replace(super().describe(), details={"path": str(self.path)})


class Table(_UserData):
    """Continuous columns from a csv (with or without header), an ``.npy`` ``(N, D)`` or an ``.npz``.

    In an ``.npz`` the array is called ``data`` or ``x`` (or anything, if it is the only one), or there are
    ``train``, ``val`` and ``test``. Every column is standardised by the training split's mean and deviation:
    the log-likelihood in the data's original units is lower by ``log_scale`` nats, which the record holds.
    """

    def __init__(
        self,
        name: str = "table",
        root: str | None = None,
        path: str | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        super().__init__(name, root, path, val_fraction, test_fraction, split_seed)
        self.columns: list[str] = []
        self.mean, self.std = np.zeros(0), np.ones(0)

    def read(self) -> None:
        path = _existing(self.path, self.name, "TABLE.csv")
        if path.suffix.lower() in (".npy", ".npz"):
            content = _load(path)
            named = content if isinstance(content, dict) else {"data": content}
            arrays = {
                key: self._array(x, path, key) for key, x in _choose(named, ("data", "x"), path).items()
            }
        elif path.is_file():
            arrays = {"all": self._csv(path)}
        else:
            raise ZooError(f"{path} is a folder; a table is one .csv, .npy or .npz file.")
        widths = {key: x.shape[1] for key, x in arrays.items()}
        if len(set(widths.values())) > 1:
            raise InvalidData(f"The splits in {path} differ in their number of columns: {widths}.")
        self.columns = self.columns or [str(i) for i in range(next(iter(widths.values())))]
        for key, x in arrays.items():
            bad = np.argwhere(~np.isfinite(x))
            if len(bad):
                row, column = bad[0]
                raise InvalidData(
                    f"{path}: column '{self.columns[column]}', row {row + 1}"
                    f"{'' if key == 'all' else f' of {key}'} is {x[row, column]}; "
                    "every value must be a finite number (rows count from 1, without the header)."
                )
        parts = self._split(arrays)
        train = parts["train"]
        if not len(train):
            raise InvalidData(f"The train split of {path} is empty; give more data.")
        constant = np.flatnonzero(train.min(0) == train.max(0))
        if len(constant):
            raise InvalidData(
                f"{path}: column '{self.columns[constant[0]]}' has the same value in every training row, "
                "so it has no density; remove it."
            )
        self.mean, self.std = train.mean(0), train.std(0)
        self.spec = DataSpec((train.shape[1],))
        self.splits = {
            split: torch.from_numpy(((x - self.mean) / self.std).astype(np.float32))
            for split, x in parts.items()
        }

    def _array(self, x: np.ndarray, path: Path, key: str) -> np.ndarray:
        """Return the table ``(N, D)`` as float64."""
        if x.dtype.kind not in "buif":
            raise InvalidData(f"{path} ({key}) holds {x.dtype} values; a table holds real numbers.")
        if x.ndim != 2 or not x.shape[1]:
            raise InvalidData(f"{path} ({key}) has the shape {x.shape}; a table is (rows, columns).")
        return x.astype(np.float64)

    def _csv(self, path: Path) -> np.ndarray:
        """Read a csv as ``(N, D)`` float64. The first row is a header unless it consists of numbers."""
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                head = next((line for line in file if line.strip()), "")
                delimiter = max(",;\t", key=head.count)
                file.seek(0)
                first = next((row for row in csv.reader(file, delimiter=delimiter) if row), [])
                if not first:
                    raise InvalidData(f"{path} is empty; give at least {FEWEST} rows.")
                has_header = any(_number(cell) is None for cell in first)
                names = (
                    [cell.strip() for cell in first] if has_header else [str(i) for i in range(len(first))]
                )
                self.columns = names
                file.seek(0)
                rows = (row for row in csv.reader(file, delimiter=delimiter) if row)
                if has_header:
                    next(rows)
                return self._rows(rows, path)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InvalidData(f"{path} cannot be read as a csv file ({error}).") from error

    def _rows(self, rows: Any, path: Path) -> np.ndarray:
        width, values = len(self.columns), []
        for index, row in enumerate(rows, 1):
            if len(row) != width:
                raise InvalidData(f"{path}: row {index} has {len(row)} columns, not {width}.")
            try:
                values.append(np.array([float(cell) for cell in row]))
            except ValueError:
                column = next(i for i, cell in enumerate(row) if _number(cell) is None)
                raise InvalidData(
                    f"{path}: column '{self.columns[column]}', row {index} is '{row[column]}'; every value "
                    "must be a finite number (rows count from 1, without the header)."
                ) from None
        return np.stack(values) if values else np.zeros((0, width))

    def describe(self) -> DataDescription:
        described = super().describe()
        described.details |= {
            "standardised": "by mean and deviation of the training split",
            "log_scale": float(np.log(self.std).sum()),
            "columns": self.columns,
        }
        return described


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
