"""A user's own pictures: a folder of any formats, or an array of integers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from zoo.checks import Seed, checked
from zoo.config.content import is_hidden, walk
from zoo.data.copies import repeated, warn_of_copies
from zoo.data.folders import by_split, check_empty, class_problem, places
from zoo.data.mapped import CHUNK, MemoryMappedRows, SelectedRows, is_memory_mapped
from zoo.data.pictures import Picture, brought_down, is_grey, read_picture
from zoo.data.spec import DataSpec
from zoo.data.user import (
    LABELS,
    UserData,
    check_labels,
    choose,
    existing,
    labels_beside,
    listed,
    load_arrays,
)
from zoo.errors import InvalidData, ZooError
from zoo.record import DataDescription

if TYPE_CHECKING:
    from PIL import Image

GREY = "{}: every picture is grey, so one channel is kept; data.grey=false keeps three."
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")
_NOT_DECODED = {"BUFR", "GRIB", "HDF5", "MPEG"}  # formats that Pillow recognises but cannot decode


class Images(UserData):
    """A folder tree of pictures in any format that Pillow reads, or an ``.npy``/``.npz`` of integers.

    Arrays are ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` with ``C`` 1 or 3; in an ``.npz`` they are
    called ``images`` (or anything, if it is the only array), or ``train``, ``val``, ``test``.

    If folders at some level are called ``train``, ``test`` and perhaps ``val`` (or similar), they are the
    splits. Linked folders are followed. Hidden files and files that are not pictures are left out and
    counted; a damaged picture is an error.

    Args:
        path: the folder or file.
        size: side to which every picture is scaled and centre-cropped; needed if the pictures differ in size.
        levels: number of levels, 2..256. The 8-bit values of files are reduced to it (greys of 16 bits to 8
            bits first, by the bits that they fill); arrays must hold ``0 .. levels-1``, or truth values.
        grey: True and False convert to grey and to colour; ``auto`` is grey if every pixel is grey.
        labels: whether the pictures' folders are their classes; None: they are classes if every picture lies
            in one of several folders, in every split.
        drop_repeats: whether to keep only the first of equal pictures.
    """

    @checked("data")
    def __init__(
        self,
        name: str = "images",
        *,
        root: str | Path | None = None,
        path: str | Path | None = None,
        size: int | None = None,
        levels: int = 256,
        grey: bool | Literal["auto"] = "auto",
        labels: bool | None = None,
        drop_repeats: bool = False,
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
        if not 2 <= levels <= 256:
            raise ZooError(f"data.levels must be from 2 to 256; got {levels}.")
        if size is not None and size < 1:
            raise ZooError(f"data.size must be at least 1; got {size}.")
        self.size, self.levels, self.grey = size, int(levels), grey
        self.with_classes, self.drop_repeats = labels, drop_repeats
        self.classes: list[str] = []

    def read(self) -> None:
        path = existing(self.path, self.name, "FOLDER_OF_PICTURES")
        labels: dict[str, np.ndarray] = {}
        if path.is_dir():
            arrays, labels = self._folder(path)
        elif path.suffix.lower() in (".npy", ".npz"):
            content = load_arrays(path)
            named = content if isinstance(content, dict) else {"images": content}
            chosen = choose(named, ("images", "x"), path)
            arrays = {
                split: self._array(named[key], f"{path} ({split})" if len(chosen) > 1 else str(path))
                for split, key in chosen.items()
            }
            arrays = self._without_equal_channels(arrays, path)
            labels = self._array_labels(named, chosen, path)
        else:
            unpack = "; unpack it and give the folder" if path.suffix.lower() in ARCHIVES else ""
            raise ZooError(f"{path} is neither a folder of pictures nor an .npy or .npz file{unpack}.")
        shapes = {key: x.shape[1:] for key, x in arrays.items()}
        if len(set(shapes.values())) > 1:
            raise InvalidData(f"The splits in {path} differ in shape (C, H, W): {shapes}.")
        mapped = arrays["all"] if "all" in arrays and is_memory_mapped(arrays["all"]) else None
        if mapped is not None:  # split the numbers of its rows, so that no picture is read
            arrays = {"all": np.arange(len(mapped))}
        if self.drop_repeats:
            repeats = repeated(np.concatenate(list(arrays.values())) if mapped is None else mapped)
            arrays, labels = self.without_repeats(arrays, labels, repeats, "pictures")
        parts = self.split(arrays)
        pictures: Mapping[str, np.ndarray] | Mapping[str, SelectedRows] = parts
        if mapped is not None:
            pictures = {key: SelectedRows(mapped, rows) for key, rows in parts.items()}
        if warning := warn_of_copies(pictures):
            self.notes.append(f"{path.name}: {warning}")
        self.splits = {key: torch.from_numpy(x) for key, x in parts.items()}
        if mapped is not None:
            base = torch.from_numpy(mapped)
            self.splits = {key: MemoryMappedRows(base, rows) for key, rows in self.splits.items()}
        if labels:
            self.labels = {key: torch.from_numpy(y) for key, y in self.split(labels).items()}
        shape = tuple(self.splits["train"].shape[1:])
        self.spec = DataSpec(shape, levels=self.levels, classes=len(self.classes) or None)
        self.natural = self.spec.shape[0] == 3 and self.levels == 256

    def _files(self, folder: Path) -> list[Path]:
        """Return the paths of the pictures below a folder; note the files that are left out."""
        from PIL import Image

        Image.init()
        readable = (Image.OPEN.keys() | {"MPO"}) - _NOT_DECODED  # MPO is opened as JPEG
        pictures, others = [], Counter[str]()
        for file in walk(folder):
            if is_hidden(file, folder):
                others["hidden"] += 1
            elif not file.is_file():
                others["that hold no content (pipes and the like)"] += 1
            elif Image.EXTENSION.get(file.suffix.lower()) in readable:
                pictures.append(file)
            else:
                others[file.suffix.lower() or "without a suffix"] += 1
        if others:
            kinds = listed([f"{count} {kind}" for kind, count in sorted(others.items())])
            self.notes.append(
                f"{folder.name}: {len(pictures)} pictures; {sum(others.values())} files are left out, "
                f"since they are hidden or not pictures ({kinds})."
            )
        if not pictures:
            raise InvalidData(f"There is no picture (png, jpg, ...) in {folder} or below it.")
        return sorted(pictures)

    def _folder(self, folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the images and the labels of a folder by split, or all of them under ``all``."""
        files = self._files(folder)
        check_empty(folder, files)
        located, note = places(folder, files)
        splits = by_split(files, located)
        if note:
            self.notes.append(note)
        if "all" not in splits:
            sizes = listed([f"{len(part)} for {split}" for split, part in splits.items()])
            self.notes.append(f"{folder.name}: the split of its folders is kept ({sizes}).")
        order = [index for part in splits.values() for index in part]
        stack = self._stack(folder, [files[index] for index in order])
        ends = np.cumsum([len(part) for part in splits.values()])[:-1]
        arrays = dict(zip(splits, np.split(stack, ends), strict=True))
        names = {
            split: [located[i].classes[0] if located[i].classes else "" for i in part]
            for split, part in splits.items()
        }
        return arrays, self._classes(folder, names, is_ambiguous=bool(note))

    def _classes(
        self, folder: Path, names: Mapping[str, Sequence[str]], is_ambiguous: bool
    ) -> dict[str, np.ndarray]:
        """Return the classes by split, from the folder that each picture lies in; empty without classes."""
        if self.with_classes is False:
            return {}
        problem = class_problem(names, self.with_classes, is_ambiguous)
        if problem:
            if self.with_classes:
                raise InvalidData(
                    f"{folder}: {problem}; give every class a folder of its own (in every split), or leave "
                    "out data.labels."
                )
            return {}
        self.classes = known = sorted({name for part in names.values() for name in part})
        self.notes.append(
            f"{folder.name}: its {len(known)} folders ({listed(known)}) are the classes of "
            "conditional models; data.labels=false leaves them out."
        )
        number = {name: i for i, name in enumerate(known)}
        return {
            split: np.array([number[name] for name in part], dtype=np.int64) for split, part in names.items()
        }

    def _array_labels(
        self, named: Mapping[str, np.ndarray], chosen: Mapping[str, str], path: Path
    ) -> dict[str, np.ndarray]:
        """Return the classes by split from the array of labels beside the images; empty without one."""
        keys = {} if self.with_classes is False else labels_beside(named, chosen, LABELS)
        if self.with_classes and not keys:
            raise InvalidData(
                f"{path} has no array of labels beside its images; add one called labels, or leave "
                "out data.labels."
            )
        labels: dict[str, np.ndarray] = {}
        try:
            labels = {
                split: check_labels(named[key], len(named[chosen[split]]), f"{path} ({key})")
                for split, key in keys.items()
            }
        except InvalidData:
            if self.with_classes:
                raise
            keys = {}
        stacked = np.concatenate(list(labels.values())) if labels else np.zeros(0, np.int64)
        values, codes = np.unique(stacked, return_inverse=True)
        if keys and (len(values) < 2 or 2 * len(values) > len(codes)):
            if self.with_classes:
                raise InvalidData(
                    f"{path}: its labels have {len(values)} distinct values in {len(codes)} images, which "
                    "are no classes; leave out data.labels."
                )
            keys, labels = {}, {}
        self.note_left_out(path, named, {*chosen.values(), *keys.values()})
        if not keys:
            return {}
        self.classes = [str(value) for value in values]
        self.notes.append(
            f"{path.name}: its array {listed(list(keys.values()))} has the {len(values)} classes of "
            "conditional models; data.labels=false leaves it out."
        )
        ends = np.cumsum([len(part) for part in labels.values()])[:-1]
        return dict(zip(labels, np.split(np.asarray(codes, dtype=np.int64), ends), strict=True))

    def _stack(self, folder: Path, files: Sequence[Path]) -> np.ndarray:
        """Read pictures and return them as an array ``(N, C, H, W)`` of uint8, in the order of the paths."""
        read: list[Picture] = []
        damaged: list[tuple[Path, str]] = []
        sizes: dict[tuple[int, int], Path] = {}
        for file in files:
            try:
                picture = read_picture(file)
            except (InvalidData, MemoryError):
                raise
            except Exception as error:  # the exception for a damaged file depends on the damage
                damaged.append((file, " ".join(str(error).split()) or type(error).__name__))
                continue
            if self.size is None and picture.image.size not in sizes:
                sizes[picture.image.size] = file
                if len(sizes) > 1:
                    (first, (w0, h0)), (w, h) = next((f, s) for s, f in sizes.items()), picture.image.size
                    raise InvalidData(
                        f"The pictures differ in size: {first} is {w0}x{h0}, {file} is {w}x{h}; "
                        "give data.size= to scale and crop them all."
                    )
            if self.size is not None and not picture.is_deep_grey:
                picture = picture._replace(image=self._scaled(picture.image))
            read.append(picture)
        if damaged:
            file, reason = damaged[0]
            more = (
                "" if len(damaged) == 1 else f", as {len(damaged) - 1} more cannot, such as {damaged[1][0]}"
            )
            raise InvalidData(f"{file} cannot be read as a picture ({reason}){more}; remove or repair it.")
        images, notes = brought_down(folder, read)
        self.notes += notes
        animated = sum(picture.is_animated for picture in read)
        if animated:
            self.notes.append(
                f"{folder.name}: of {animated} files with several frames the first one is used."
            )
        if self.size is not None:
            images = [self._scaled(image) for image in images]
        mode = "L" if (all(map(is_grey, images)) if self.grey == "auto" else self.grey) else "RGB"
        if self.grey == "auto" and mode == "L" and any(image.mode == "RGB" for image in images):
            self.notes.append(GREY.format(folder.name))
        stack = np.stack([np.asarray(image.convert(mode)) for image in images])
        if self.levels < 256:
            stack = (stack.astype(np.uint16) * self.levels // 256).astype(np.uint8)
        return np.ascontiguousarray(stack[:, None] if mode == "L" else stack.transpose(0, 3, 1, 2))

    def _scaled(self, image: Image.Image) -> Image.Image:
        """Return a picture scaled and cropped to ``size``, unless it has this size."""
        from PIL import Image, ImageOps

        assert self.size is not None
        side = (self.size, self.size)
        grey = image.convert("L") if image.mode == "1" else image
        return grey if grey.size == side else ImageOps.fit(grey, side, Image.Resampling.LANCZOS)

    def _array(self, x: np.ndarray, where: str) -> np.ndarray:
        """Return a user's array of images, whatever its layout, as ``(N, C, H, W)`` of uint8.

        A memory-mapped array stays in its file if its values need not change.

        Raises:
            InvalidData: its shape, dtype or values are not those of images.
        """
        given = x
        if x.dtype.kind == "b":  # black and white, as in files of 1 bit
            x = x * np.uint8(self.levels - 1)
        if x.dtype.kind not in "ui":
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
        x = x.astype(np.uint8, copy=False)
        if self.grey is True and x.shape[1] == 3:
            luma = np.tensordot(np.array([0.299, 0.587, 0.114]), x.astype(np.float64), (0, 1))
            x = np.floor(luma + 0.5).astype(np.uint8)[:, None]
        elif self.grey is False and x.shape[1] == 1:
            x = x.repeat(3, 1)
        if self.size is not None and x.shape[2:] != (self.size, self.size) and len(x):
            x = np.stack([self._fit(image) for image in x])
        is_in_file = is_memory_mapped(given) and np.may_share_memory(x, given)
        return x if is_in_file else np.array(x, order="C")

    def _without_equal_channels(self, arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
        """Return images with one channel if ``grey`` is ``auto`` and the three channels of all are equal."""
        if self.grey != "auto" or not all(
            x.shape[1] == 3 and (x[:, 0] == x[:, 1]).all() and (x[:, 1] == x[:, 2]).all()
            for whole in arrays.values()
            for x in np.array_split(whole, max(1, whole.nbytes // CHUNK))
        ):
            return arrays
        self.notes.append(GREY.format(path.name))
        first = {key: x[:, :1] for key, x in arrays.items()}
        return {key: x if is_memory_mapped(x) else np.ascontiguousarray(x) for key, x in first.items()}

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
        details: dict[str, Any] = {"path": str(self.path)}
        if self.classes:
            details["classes"] = self.classes
        return dataclasses.replace(super().describe(), details=details)
