"""A user's own pictures: a folder of any formats, or an array of integers."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from zoo.checks import Seed, checked
from zoo.config.content import is_hidden, walk
from zoo.data.module import SPLITS
from zoo.data.spec import DataSpec
from zoo.data.user import UserData, choose, existing, listed, load_arrays
from zoo.errors import InvalidData, ZooError
from zoo.record import DataDescription

if TYPE_CHECKING:
    from PIL import Image

SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLIT_FOLDERS |= {"test": "test", "testing": "test"}
_ORIENTATION = 0x0112
_NOT_DECODED = {"BUFR", "GRIB", "HDF5", "MPEG"}  # formats that Pillow recognises but cannot decode


class Images(UserData):
    """A folder tree of pictures in any format that Pillow reads, or an ``.npy``/``.npz`` of integers.

    Arrays are ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` with ``C`` 1 or 3; in an ``.npz`` they are
    called ``images`` (or anything, if it is the only array), or ``train``, ``val``, ``test``.

    A folder that consists of the folders ``train`` and ``test`` (and perhaps ``val``) keeps this split.
    Linked folders are followed. Hidden files and files that are not pictures are left out and counted; a
    damaged picture is an error.

    Args:
        path: the folder or file.
        size: side to which every picture is scaled and centre-cropped; needed if the pictures differ in size.
        levels: number of levels, 2..256. The 8-bit values of files are reduced to it (16-bit greys to 8 bits
            first); arrays must hold ``0 .. levels-1``.
        grey: True and False convert to grey and to colour; ``auto`` is grey if every picture is grey.
        labels: whether the pictures' folders are their classes; None: they are classes if every picture lies
            in one of several folders, in every split.
    """

    @checked("data")
    def __init__(
        self,
        name: str = "images",
        root: str | Path | None = None,
        path: str | Path | None = None,
        size: int | None = None,
        levels: int = 256,
        grey: bool | Literal["auto"] = "auto",
        labels: bool | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: Seed = 0,
    ) -> None:
        super().__init__(name, root, path, val_fraction, test_fraction, split_seed)
        if not 2 <= levels <= 256:
            raise ZooError(f"data.levels must be from 2 to 256; got {levels}.")
        if size is not None and size < 1:
            raise ZooError(f"data.size must be at least 1; got {size}.")
        if grey not in (True, False, "auto"):
            raise ZooError(f"data.grey must be true, false or auto; got {grey}.")
        if labels not in (True, False, None):
            raise ZooError(f"data.labels must be true, false or null; got {labels}.")
        self.size, self.levels, self.grey = size, int(levels), grey
        self.with_classes = labels
        self.classes: list[str] = []

    def read(self) -> None:
        path = existing(self.path, self.name, "FOLDER_OF_PICTURES")
        labels: dict[str, np.ndarray] = {}
        if path.is_dir():
            files = self._files(path)
            stack = self._stack(path, [file for part in files.values() for file in part])
            ends = np.cumsum([len(part) for part in files.values()])[:-1]
            arrays = dict(zip(files, np.split(stack, ends), strict=True))
            labels = self._classes(path, files)
        elif path.suffix.lower() in (".npy", ".npz"):
            content = load_arrays(path)
            named = content if isinstance(content, dict) else {"images": content}
            chosen = choose(named, ("images", "x"), path)
            arrays = {
                key: self._array(x, f"{path} ({key})" if len(chosen) > 1 else str(path))
                for key, x in chosen.items()
            }
        else:
            raise ZooError(f"{path} is neither a folder of pictures nor an .npy or .npz file.")
        shapes = {key: x.shape[1:] for key, x in arrays.items()}
        if len(set(shapes.values())) > 1:
            raise InvalidData(f"The splits in {path} differ in shape (C, H, W): {shapes}.")
        self.splits = {key: torch.from_numpy(x) for key, x in self.split(arrays).items()}
        if labels:
            self.labels = {key: torch.from_numpy(y) for key, y in self.split(labels).items()}
        shape = tuple(self.splits["train"].shape[1:])
        self.spec = DataSpec(shape, levels=self.levels, classes=len(self.classes) or None)
        self.natural = self.spec.shape[0] == 3 and self.levels == 256

    def _files(self, folder: Path) -> dict[str, list[Path]]:
        """Return the pictures' paths by split, or all of them under ``all``; record the omitted files."""
        from PIL import Image

        Image.init()
        readable = Image.OPEN.keys() - _NOT_DECODED
        pictures, others = [], Counter[str]()
        for file in walk(folder):
            if is_hidden(file, folder):
                others["hidden"] += 1
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
        pictures.sort()
        splits: dict[str, list[Path]] = {}
        for file in pictures:
            top = file.relative_to(folder).parts[0] if file.parent != folder else ""
            splits.setdefault(SPLIT_FOLDERS.get(top.lower(), "all"), []).append(file)
        if "train" not in splits or "all" in splits or len(splits) < 2:
            if "train" in splits and len(splits) > 1:
                self.notes.append(
                    f"{folder.name}: there are pictures outside of its folders train and test, so that all "
                    "pictures are split at random."
                )
            return {"all": pictures}
        splits = {split: splits[split] for split in SPLITS if split in splits}
        sizes = listed([f"{len(part)} for {split}" for split, part in splits.items()])
        self.notes.append(f"{folder.name}: the split of its folders is kept ({sizes}).")
        return splits

    def _classes(self, folder: Path, files: Mapping[str, Sequence[Path]]) -> dict[str, np.ndarray]:
        """Return the classes by split, from the folder that each picture lies in; empty without classes."""
        if self.with_classes is False:
            return {}
        depth = 0 if "all" in files else 1
        names: dict[str, list[str]] = {
            split: [
                relative.parts[depth] if len(relative.parts) > depth + 1 else ""
                for relative in (file.relative_to(folder) for file in part)
            ]
            for split, part in files.items()
        }
        known = sorted({name for part in names.values() for name in part})
        problem = ""
        if "" in known:
            problem = "some pictures lie in no class folder"
        elif len(known) < 2:
            problem = f"there is one class folder, '{known[0]}'"
        elif not self.with_classes and 2 * len(known) > sum(map(len, names.values())):
            problem = "there are hardly more pictures than folders"
        elif "train" in names and set(known) != set(names["train"]):
            missing = sorted(set(known) - set(names["train"]))
            problem = f"the training pictures lack the class {listed(missing)}"
        if problem:
            if self.with_classes:
                raise InvalidData(
                    f"{folder}: {problem}; give every class a folder of its own (in every split), or leave "
                    "out data.labels."
                )
            return {}
        self.classes = known
        self.notes.append(
            f"{folder.name}: its {len(known)} folders ({listed(known)}) are the classes of conditional "
            "models; data.labels=false leaves them out."
        )
        number = {name: i for i, name in enumerate(known)}
        return {
            split: np.array([number[name] for name in part], dtype=np.int64) for split, part in names.items()
        }

    def _stack(self, folder: Path, files: Sequence[Path]) -> np.ndarray:
        """Return images ``(N, C, H, W)`` as uint8, in the order of the paths."""
        from PIL import Image, ImageOps

        pictures: list[Image.Image] = []
        damaged: list[tuple[Path, str]] = []
        sizes: dict[tuple[int, int], Path] = {}
        all_grey, deep, animated = True, 0, 0
        for file in files:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Pillow's warnings, for example about unusual EXIF data
                    with Image.open(file) as opened:
                        animated += getattr(opened, "n_frames", 1) > 1
                        opened.load()
                        picture = _upright(opened)
                    if picture.mode.startswith(("I", "F")):
                        picture = _eight_bits(picture, file)
                        deep += 1
                    grey = picture.mode in ("1", "L", "LA", "La")
                    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
                        picture = picture.convert(
                            "RGBA"
                        )  # transparent pictures on white, as viewers show them
                        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
                    if picture.mode not in ("1", "L"):
                        picture = picture.convert("RGB")
            except (InvalidData, MemoryError):
                raise
            except Exception as error:  # the exception for a damaged file depends on the damage
                damaged.append((file, " ".join(str(error).split()) or type(error).__name__))
                continue
            all_grey &= grey
            if self.size is not None:
                picture = ImageOps.fit(
                    picture.convert("L" if picture.mode == "1" else picture.mode),
                    (self.size, self.size),
                    Image.Resampling.LANCZOS,
                )
            elif picture.size not in sizes:
                sizes[picture.size] = file
                if len(sizes) > 1:
                    (first, (w0, h0)), (w, h) = next((f, s) for s, f in sizes.items()), picture.size
                    raise InvalidData(
                        f"The pictures differ in size: {first} is {w0}x{h0}, {file} is {w}x{h}; "
                        "give data.size= to scale and crop them all."
                    )
            pictures.append(picture)
        if damaged:
            file, reason = damaged[0]
            more = (
                "" if len(damaged) == 1 else f", as {len(damaged) - 1} more cannot, such as {damaged[1][0]}"
            )
            raise InvalidData(f"{file} cannot be read as a picture ({reason}){more}; remove or repair it.")
        if deep:
            self.notes.append(f"{folder.name}: {deep} pictures of 16 bits are brought down to 8.")
        if animated:
            self.notes.append(
                f"{folder.name}: of {animated} files with several frames the first one is used."
            )
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
        details: dict[str, Any] = {"path": str(self.path)}
        if self.classes:
            details["classes"] = self.classes
        return dataclasses.replace(super().describe(), details=details)


def _upright(picture: Image.Image) -> Image.Image:
    """Return a picture rotated by its EXIF orientation.

    Only this entry is read, so that damage in others does no harm. Without a valid entry the picture is
    unchanged.
    """
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except Exception:  # Pillow raises many kinds for damaged EXIF data
        orientation = None
    turned = turns.get(orientation) if isinstance(orientation, int) else None
    return picture.copy() if turned is None else picture.transpose(turned)


def _eight_bits(picture: Image.Image, file: Path) -> Image.Image:
    """Return a grey picture of 16 bits with the upper 8 of them.

    Raises:
        InvalidData: the values are fractions, exceed 16 bits, or would all become black.
    """
    from PIL import Image

    values = np.asarray(picture)
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" or low < 0 or high > 65535 or 0 < high < 256:
        raise InvalidData(
            f"{file} has pixels from {low:g} to {high:g} in more than 8 bits, which do not fill 16 bits; "
            "convert it to 8 bits."
        )
    return Image.fromarray((values.astype(np.uint32) >> 8).astype(np.uint8))
