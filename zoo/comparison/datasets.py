"""Data sets that runs were trained on: which are the same, and what to call those of one name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from zoo.comparison.collect import Run
from zoo.record import digest, meaning

DIGITS = 8  # of a fingerprint, which are shown


@dataclass(frozen=True)
class Dataset:
    """What has to agree for two runs to have the same data.

    Attributes:
        name: of the data set. Of a user's own data it is only what to call them: the same content is the same
            data under any name.
        shape: of an example.
        levels: number of values of an integer pixel; None for continuous data.
        sizes: examples by split.
        fingerprint: hash of the training split.
        held_out: of a user's own data the hashes of the other splits, by their names, where recorded.
        meaning: of a user's own data what their values stand for, see :func:`zoo.record.meaning`: tables in
            other units, or with other names or labels, are other data even where the fingerprints agree.
        key: the name; of a user's own data with such hashes, which need no name, a word for all of them.
    """

    name: str = field(compare=False)
    shape: tuple[int, ...] | None = None
    levels: int | None = None
    sizes: tuple[tuple[str, int], ...] = ()
    fingerprint: str | None = None
    held_out: tuple[tuple[str, str], ...] = ()
    meaning: tuple[tuple[str, str], ...] = ()
    key: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.key or self.name)

    @property
    def known(self) -> bool:
        """Whether the record describes the data beyond their name; after an early failure it may not."""
        return (self.shape, self.levels, self.sizes, self.fingerprint) != (None, None, (), None)


def dataset(run: Run) -> Dataset:
    """Return the data set of a run, as its record describes it."""
    about = run.record.provenance.data
    if about is None:
        return Dataset(run.record.data)
    shape = None if about.shape is None else tuple(about.shape)
    sizes = tuple(sorted(about.sizes.items()))
    settings = run.record.provenance.config.get("data")
    facts = (run.record.data, shape, about.levels, sizes, about.fingerprint)
    if not (isinstance(settings, dict) and "content" in settings):
        return Dataset(*facts)
    held_out = tuple(sorted(item for item in about.fingerprints.items() if item[0] != "train"))
    stands_for = tuple(sorted(meaning(about).items()))
    return Dataset(*facts, held_out, stands_for, key="own data" if held_out else "")


def dimensions(run: Run) -> int:
    """Return the number of dimensions of a run's data; 0 if the run ended before it was known."""
    data = run.record.provenance.data
    return math.prod(data.shape) if data is not None and data.shape else 0


def labels(datasets: Iterable[Dataset]) -> dict[Dataset, str]:
    """Return what to call each data set: its name, and what differs where several have the same name.

    >>> small, large = Dataset("photos", (3, 8, 8), 256), Dataset("photos", (3, 16, 16), 256)
    >>> list(labels([small, large, Dataset("moons", (2,))]).values())
    ['photos (3x8x8)', 'photos (3x16x16)', 'moons']
    """
    by_name: dict[str, list[Dataset]] = {}
    for data in dict.fromkeys(datasets):
        by_name.setdefault(data.name, []).append(data)
    names: dict[Dataset, str] = {}
    for name, alike in by_name.items():
        if len(alike) == 1:
            names[alike[0]] = name
        else:
            names |= {data: f"{name} ({text})" for data, text in _differences(alike).items()}
    return names


def _differences(alike: list[Dataset]) -> dict[Dataset, str]:
    """Return what sets each of several data sets of one name apart: size, levels, names, units, labels.

    If these are the same, it is the fingerprint.
    """
    known = [data for data in alike if data.known]
    facts = [[_size(data), _levels(data), *_counts(data, known), *_meanings(data)] for data in known]
    differing = [place for place, column in enumerate(zip(*facts, strict=True)) if len(set(column)) > 1]
    texts = [", ".join(row[place] for place in differing if row[place]) for row in facts]
    if len(set(texts)) < len(texts):
        hashes = [data.fingerprint or "" for data in known]
        digits = DIGITS
        while len({mark[:digits] for mark in hashes}) < len(set(hashes)):
            digits += DIGITS
        marks = [f"fingerprint {mark[:digits]}" if mark else "no fingerprint" for mark in hashes]
        texts = [", ".join(filter(None, pair)) for pair in zip(texts, marks, strict=True)]
    if len(set(texts)) < len(texts):  # the training splits agree
        held_out = [", ".join(f"{split} {mark[:DIGITS]}" for split, mark in data.held_out) for data in known]
        texts = [", ".join(filter(None, pair)) for pair in zip(texts, held_out, strict=True)]
    unknown = {data: "data not recorded" for data in alike if not data.known}
    return dict(zip(known, texts, strict=True)) | unknown


def _size(data: Dataset) -> str:
    if data.shape is None:
        return "size not recorded"
    size = "x".join(map(str, data.shape))
    return size if len(data.shape) > 1 else f"{size} dimensions"


def _levels(data: Dataset) -> str:
    return "continuous" if data.levels is None else f"{data.levels} levels"


def _counts(data: Dataset, known: list[Dataset]) -> list[str]:
    """Return the number of examples of every split that one of the data sets has."""
    counts = dict(data.sizes)
    splits = dict.fromkeys(split for other in known for split, _ in other.sizes)
    return [f"{split} {counts[split]:,}" if split in counts else f"no {split}" for split in splits]


def _meanings(data: Dataset) -> list[str]:
    """Return in short what the values of a data set stand for, a text for each part of it."""
    parts = dict(data.meaning)
    return [
        f"columns {_shortened(parts, 'columns')}" if "columns" in parts else "",
        f"units {digest(parts, 'units')}" if "units" in parts else "",
        f"classes {_shortened(parts, 'classes')}" if "classes" in parts else "",
        f"labels {digest(parts, 'labels')}" if "labels" in parts else "",
    ]


def _shortened(parts: dict[str, str], name: str) -> str:
    """Return the names in a part of a meaning; of many only the first and a hash of all."""
    text = parts[name]
    names = [str(value) for value in json.loads(text)] if text.startswith("[") else [text]
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:2])}, ... {digest(parts, name)}"
