"""Samples and densities for the page: one array of bytes, and where each row's pictures lie in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.figures.maps import BRIGHT
from zoo.comparison.studies import Study
from zoo.record import DENSITY, GALLERY, SAMPLES

BUDGET = 3_000_000  # bytes of all pictures of a page, before they are packed
MOST, FEWEST = 64, 16  # pictures of a row
GRID = 96  # points along the side of a density
Json = dict[str, Any]


class Pixels:
    """An array of bytes that grows; :meth:`put` returns where a part begins."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def put(self, part: np.ndarray) -> int:
        """Append the bytes of an array."""
        place, content = self.size, np.ascontiguousarray(part).tobytes()
        self._parts.append(content)
        self.size += len(content)
        return place

    def bytes(self) -> bytes:
        """Return everything that was put in."""
        return b"".join(self._parts)


def pictures_of(studies: Sequence[Study], pixels: Pixels) -> list[Json | None]:
    """Return for each study where its pictures lie, by row, of the first seed that has them; None without.

    Where they would exceed the budget, rows that do not stand for a model have none; ``left`` counts them.
    """
    share = BUDGET // max(1, len(studies))
    return [_of_study(study, pixels, share) for study in studies]


def _of_study(study: Study, pixels: Pixels, budget: int) -> Json | None:
    groups, standing = study.ordered, {id(study.baseline(group.model)) for group in study.groups}
    order = sorted(range(len(groups)), key=lambda i: id(groups[i]) not in standing)
    rows: list[Json] = [{} for _ in groups]
    pictures: Json = {"rows": rows, "left": 0}
    end = pixels.size + budget
    count: int | None = None
    scale: Json = {}
    for index in order:
        if pixels.size > end and id(groups[index]) not in standing:
            pictures["left"] += _first(groups[index], SAMPLES, {"samples", "real"}) is not None
            continue
        if (arrays := _first(groups[index], SAMPLES, {"samples", "real", "levels"})) is not None:
            if count is None:
                size = int(np.prod(arrays["samples"].shape[1:])) * (4 if arrays["samples"].ndim == 2 else 1)
                count = int(np.clip(budget // (size * (len(groups) + 1)), FEWEST, MOST))
            if "real" not in pictures and (real := _pack(arrays["real"], arrays, count, pixels, scale)):
                pictures["real"] = real
            if packed := _pack(arrays["samples"], arrays, count, pixels, scale):
                rows[index]["samples"] = packed
        if (arrays := _first(groups[index], DENSITY, {"density", "data"})) is not None:
            if "histogram" not in pictures:
                data = arrays["data"].astype(np.float32)
                scale["top"] = float(np.quantile(data[data > 0], BRIGHT)) if (data > 0).any() else 1.0
                pictures["histogram"] = _grid(data, pixels, scale["top"])
            rows[index]["density"] = _grid(arrays["density"].astype(np.float32), pixels, scale["top"])
        if id(groups[index]) in standing and pixels.size <= end + budget:
            rows[index] |= _gallery(groups[index], pixels, scale)
    return pictures if any(rows) else None


KNOBS = ("temperature", "truncation", "steps")


def _gallery(group: Group, pixels: Pixels, scale: Json) -> Json:
    """Return the parts of a run's gallery: lines of pictures with their labels, the way of points."""
    arrays = next((content for run in group.finished if (content := run.arrays(GALLERY))), None)
    levels = (_first(group, SAMPLES, {"levels"}) or {}).get("levels", np.array(256))
    parts: Json = {}
    if arrays is None:
        return parts

    def put(name: str, lines: Sequence[tuple[str, np.ndarray]]) -> None:
        whole = np.concatenate([images for _, images in lines])
        if packed := _pack(whole, {"levels": levels}, len(whole), pixels, scale):
            parts[name] = packed | {"lines": [[label, len(images)] for label, images in lines]}

    if {"samples", "neighbours"} <= arrays.keys():
        put("neighbours", [("samples", arrays["samples"]), ("nearest in training", arrays["neighbours"])])
    for knob in KNOBS:
        if {knob, f"{knob}_values"} <= arrays.keys():
            labels = [f"{knob} {value:g}" for value in arrays[f"{knob}_values"].tolist()]
            usual = [("as evaluated", arrays["samples"])] if "samples" in arrays else []
            put(knob, [*zip(labels, arrays[knob], strict=True), *usual])
    if "interpolation" in arrays:
        put("interpolation", [("from one test image to another", arrays["interpolation"])])
    if {"likely", "unlikely"} <= arrays.keys():
        put("likelihood", [("most likely", arrays["likely"]), ("least likely", arrays["unlikely"])])
    if "path" in arrays and "low" in scale:
        frames = arrays["path"].astype(np.float64)
        share = np.clip((frames - scale["low"]) / (scale["high"] - scale["low"]), 0, 1)
        if pixels.size % 2:
            pixels.put(np.zeros(1, np.uint8))
        at = pixels.put((np.nan_to_num(share) * 65535).astype("<u2"))
        parts["path"] = {"kind": "path", "at": at, "frames": len(frames), "count": frames.shape[1]}
    return parts


def _first(group: Group, file: str, names: set[str]) -> dict[str, np.ndarray] | None:
    """Return the arrays of the first finished run that has them."""

    def arrays_of(run: Run) -> dict[str, np.ndarray]:
        return run.arrays(file) or {}

    return next((arrays for run in group.finished if names <= (arrays := arrays_of(run)).keys()), None)


def _pack(
    values: np.ndarray, arrays: Mapping[str, np.ndarray], count: int, pixels: Pixels, scale: Json
) -> Json | None:
    """Put images as bytes, or points as pairs of 16-bit numbers over the range of the real ones."""
    chosen = values[:count]
    if chosen.ndim == 4 and chosen.shape[1] in (1, 3):
        levels = max(2, int(arrays["levels"]))
        grey = np.clip(np.rint(chosen.astype(np.float32) * (255 / (levels - 1))), 0, 255).astype(np.uint8)
        return {"kind": "images", "at": pixels.put(grey), "count": len(grey), "shape": list(grey.shape[1:])}
    if chosen.ndim == 2 and chosen.shape[1] == 2:
        if "low" not in scale:
            real = arrays["real"].astype(np.float64)
            scale["low"], scale["high"] = float(real.min()) - 0.5, float(real.max()) + 0.5
        inside = chosen[np.isfinite(chosen).all(axis=1)].astype(np.float64)
        share = (inside - scale["low"]) / (scale["high"] - scale["low"])
        inside = share[((share >= 0) & (share <= 1)).all(axis=1)]
        if pixels.size % 2:
            pixels.put(np.zeros(1, np.uint8))
        at = pixels.put((inside * 65535).astype("<u2"))
        return {"kind": "points", "at": at, "count": len(inside), "shape": [2]}
    return None


def _grid(density: np.ndarray, pixels: Pixels, top: float) -> Json:
    step = max(1, -(-max(density.shape) // GRID))
    small = np.nan_to_num(density[::step, ::step], posinf=top) / top
    grey = np.rint(255 * np.clip(small, 0, 1)).astype(np.uint8)
    return {"kind": "grid", "at": pixels.put(grey), "shape": list(grey.shape)}
