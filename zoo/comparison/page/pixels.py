"""Samples and densities for the page: one array of bytes, and where each row's pictures lie in it."""

from __future__ import annotations

import math
import statistics
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.criterion import criterion_of, kind_of
from zoo.comparison.figures.maps import BRIGHT
from zoo.comparison.front import front
from zoo.comparison.guards import collapsed, key_of
from zoo.comparison.quantities import LATENCY
from zoo.comparison.recommend import Constraints
from zoo.comparison.recommend.question import Question
from zoo.comparison.recommend.shortlist import shortlist
from zoo.comparison.studies import Study
from zoo.record import DENSITY, GALLERY, SAMPLES

BUDGET = 2_500_000  # bytes of all pictures of a page, each packed by itself; base64 makes them a third longer
MANY = 200  # configurations of a study, beyond which the page does not ask the default question by itself
MOST, FEWEST = 64, 16  # images of a row
POINTS = 1_000  # most points of a row on the plane
GRID = 96  # points along the side of a density
Json = dict[str, Any]


class Pixels:
    """An array of bytes that grows; :meth:`put` returns where a part begins.

    Attributes:
        size: number of bytes.
        weight: the same after each part is packed by itself, which is what they cost the page.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = self.weight = 0

    def put(self, part: np.ndarray) -> int:
        """Append the bytes of an array."""
        place, content = self.size, np.ascontiguousarray(part).tobytes()
        self._parts.append(content)
        self.size += len(content)
        self.weight += len(zlib.compress(content, 6))
        return place

    def bytes(self) -> bytes:
        """Return everything that was put in."""
        return b"".join(self._parts)


def pictures_of(studies: Sequence[Study], pixels: Pixels) -> list[Json | None]:
    """Return for each study where its pictures lie, by row, of the first seed that has them; None without.

    One budget is for all studies. First come the real examples, then the answers to the default question and
    the front, then the rows that stand for a model, then the galleries of these, then the other rows. In each
    of these turns the studies take one row after the other. ``left`` counts the rows that came too late.
    """
    found = [_Shown(study) for study in studies]
    before = sum(len(one.first) + len(one.standing) for one in found) or 1
    room = BUDGET / 2 / before
    turns: tuple[tuple[Callable[[_Shown], Sequence[int]], Callable[[_Shown, int], None]], ...] = (
        (lambda one: one.first, lambda one, row: one.draw(row, room)),
        (lambda one: one.standing, lambda one, row: one.draw(row, room)),
        (lambda one: [*one.first, *one.standing], _Shown.draw_gallery),
        (lambda one: one.others, lambda one, row: one.draw(row, room)),
    )
    for rows_of, draw in turns:
        for rows in zip_longest(*map(rows_of, found)):
            for one, row in zip(found, rows, strict=True):
                if row is not None:
                    one.full = sum(other.pixels.weight for other in found) > BUDGET
                    draw(one, row)
    # Studies are packed one after the other, so a new run does not move the pictures of earlier studies.
    for one in found:
        _move(one.pictures, pixels.put(np.frombuffer(one.pixels.bytes(), np.uint8)))
    return [one.pictures if any(one.pictures["rows"]) else None for one in found]


def _move(pictures: Json, by: int) -> None:
    """Shift the places of a study's pictures by the number of bytes before them in the page's array."""
    shown = [pictures.get("real"), pictures.get("histogram")]
    for one in filter(None, [*shown, *(part for row in pictures["rows"] for part in row.values())]):
        one["at"] += by


class _Shown:
    """The pictures of one study, to which rows and galleries are added while the page has room.

    Attributes:
        pictures: kind, number and place in ``pixels`` of each picture, as the page's script reads them.
        pixels: the bytes of these pictures.
        full: whether the budget of the page is spent.
        first: the places of the rows that answer the default question or are on the front, the best first.
        standing: those of the others that stand for a model.
        others: the rest.
    """

    def __init__(self, study: Study) -> None:
        self.groups, self.pixels, self.full = study.ordered, Pixels(), False
        self.pictures: Json = {"rows": [{} for _ in self.groups], "left": 0}
        self._scale: Json = {}
        wanted, standing = _wanted(study), {id(study.baseline(group.model)) for group in study.groups}
        places = {key_of(group): place for place, group in enumerate(self.groups)}
        self.first = [places[key] for key in wanted]
        rest = [place for place in range(len(self.groups)) if place not in self.first]
        self.standing = [place for place in rest if id(self.groups[place]) in standing]
        self.others = [place for place in rest if id(self.groups[place]) not in standing]

    def draw(self, place: int, room: float) -> None:
        """Put samples and the density of a row, as many samples as fit into some bytes."""
        group, pixels, scale, row = (
            self.groups[place],
            self.pixels,
            self._scale,
            self.pictures["rows"][place],
        )
        if self.full:
            self.pictures["left"] += _first(group, SAMPLES, {"samples", "real"}) is not None
            return
        if (arrays := _first(group, SAMPLES, {"samples", "real", "levels"})) is not None:
            count = _count(arrays["samples"], room)
            if "real" not in self.pictures and (real := _pack(arrays["real"], arrays, count, pixels, scale)):
                self.pictures["real"] = real
            if packed := _pack(arrays["samples"], arrays, count, pixels, scale):
                row["samples"] = packed
        if (arrays := _first(group, DENSITY, {"density", "data"})) is not None:
            if "histogram" not in self.pictures:
                data = arrays["data"].astype(np.float32)
                scale["top"] = float(np.quantile(data[data > 0], BRIGHT)) if (data > 0).any() else 1.0
                self.pictures["histogram"] = _grid(data, pixels, scale["top"])
            row["density"] = _grid(arrays["density"].astype(np.float32), pixels, scale["top"])

    def draw_gallery(self, place: int) -> None:
        """Put the parts of a row's gallery, where there is room."""
        if not self.full:
            self.pictures["rows"][place] |= _gallery(self.groups[place], self.pixels, self._scale)


def _count(samples: np.ndarray, room: float) -> int:
    """Return how many samples of a row to put: points of the plane are small, so that most are shown."""
    if samples.ndim == 2:
        return POINTS
    return int(np.clip(room // max(1, math.prod(samples.shape[1:])), FEWEST, MOST))


def _wanted(study: Study) -> list[str]:
    """Return the configurations that answer the default question, then those on the front, by ``key_of``.

    The question is not asked of more than :data:`MANY` configurations: each is held against all others.
    """
    question, answers = Question(study, Constraints()), []
    if question.criteria and len(study.groups) <= MANY:
        answers = [c.key for b in shortlist(question, {}, ()).blocks for c in b.cards]
    dead, criterion = collapsed(study), criterion_of(study)
    points = {
        key_of(group): (statistics.fmean(times), statistics.fmean(losses), kind_of(group, criterion))
        for group in study.ordered
        if criterion is not None
        and key_of(group) not in dead
        and (times := group.values(LATENCY))
        and (losses := group.values(criterion))
    }
    keys, kinds = list(points), [kind for _, _, kind in points.values()]
    best = front([(time, loss) for time, loss, _ in points.values()], kinds)
    return list(dict.fromkeys([*answers, *(keys[place] for place in best)]))


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
        at = pixels.put(_coordinates(np.nan_to_num(share)))
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
    """Append images (one byte per pixel) or points of the plane (one byte per coordinate) to ``pixels``.

    The coordinates 0 and 255 are the ends of the range of the real points, half a unit wider at each end.
    Return where in ``pixels`` they are; None for samples that are neither images nor points.
    """
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
        at = pixels.put(_coordinates(inside))
        return {"kind": "points", "at": at, "count": len(inside), "shape": [2]}
    return None


def _coordinates(share: np.ndarray) -> np.ndarray:
    """Return shares of the range as bytes, finer than the pixels of the page's pictures."""
    return np.rint(255 * share).astype(np.uint8)


def _grid(density: np.ndarray, pixels: Pixels, top: float) -> Json:
    step = max(1, -(-max(density.shape) // GRID))
    small = np.nan_to_num(density[::step, ::step], posinf=top) / top
    grey = np.rint(255 * np.clip(small, 0, 1)).astype(np.uint8)
    return {"kind": "grid", "at": pixels.put(grey), "shape": list(grey.shape)}
