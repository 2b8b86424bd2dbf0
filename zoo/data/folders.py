"""Splits and classes of a folder tree of pictures, by the names of its folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from zoo.data.module import SPLITS
from zoo.data.user import listed
from zoo.errors import InvalidData

_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "holdout", "heldout"),
    "eval": ("eval", "evaluation"),  # the test, or beside one the validation
}
_SPLIT = {word: split for split, words in _WORDS.items() for word in words}
# Words beside the split's, as in train_set or images-test.
_FILLERS = {
    *("set", "sets", "data", "dataset", "split", "part", "fold", "subset", "examples", "samples"),
    *("image", "images", "img", "imgs", "picture", "pictures", "pics", "photos"),
}
_LETTER = re.compile(rf"^((?i:{'|'.join(_SPLIT)}))([A-Z])$")  # trainA, as of pairs of domains
_ENDING = re.compile("(set|data|split|images|imgs)$")


class Place(NamedTuple):
    """What the folders above a picture say.

    Attributes:
        split: the split; empty if no folder is one.
        classes: the other folders, uppermost first.
    """

    split: str
    classes: tuple[str, ...]


def split_word(name: str) -> tuple[str, str]:
    """Return the split that a folder's name stands for, and what else the name says; the split may be empty.

    >>> split_word("Training_Set"), split_word("test-images"), split_word("cats_val"), split_word("trainers")
    (('train', ''), ('test', ''), ('val', 'cats'), ('', 'trainers'))
    """
    words = [word.lower() for word in re.findall(r"[^\W\d_]+", _LETTER.sub(r"\1 \2", name))]
    shortened = [word if word in _SPLIT else _ENDING.sub("", word) for word in words]
    splits = {_SPLIT[word] for word in shortened if word in _SPLIT}
    if len(splits) != 1:
        return "", name
    rest = [w for w, short in zip(words, shortened, strict=True) if short not in _SPLIT and w not in _FILLERS]
    return splits.pop(), " ".join(rest)


def places(folder: Path, files: Sequence[Path]) -> tuple[list[Place], str]:
    """Return what the folders of each picture say, and a note; with splits for all pictures or for none.

    Args:
        folder: the uppermost folder, whose own name says nothing.
        files: the pictures below it.

    Raises:
        InvalidData: some pictures are held out by the name of a folder, and others lie in no split, in two,
            or there are none to train on.
    """
    above = [file.relative_to(folder).parts[:-1] for file in files]
    names = {name for parts in above for name in parts}
    splits = {name: split for name in names if (split := _split_of(name, names))}
    held_out = sorted(name for name, split in splits.items() if split != "train")
    places: list[Place] = []
    for file, parts in zip(files, above, strict=True):
        naming = [name for name in parts if name in splits]
        if len({splits[name] for name in naming}) > 1:
            raise InvalidData(
                f"{file} lies in {' and in '.join(naming)}, which are names of splits; give those folders "
                "that are none other names."
            )
        classes = [split_word(name)[1] if name in naming else name for name in parts]
        places.append(Place(splits[naming[0]] if naming else "", tuple(name for name in classes if name)))
    kinds = {place.split for place in places}
    if len(kinds) == 1:  # one split, or none: the pictures are divided as if there were none
        return [place._replace(split="") for place in places], ""
    if not held_out:  # such as a class called train, beside others
        plain = [Place("", parts) for parts in above]
        return plain, (
            f"{folder.name}: some pictures lie in a folder called {listed(sorted(splits))} and none in one "
            "called val or test, so that all are split at random."
        )
    if "" in kinds:
        outside = next(file for file, place in zip(files, places, strict=True) if not place.split)
        raise InvalidData(
            f"{folder} has folders called {listed(sorted(splits))}, and pictures outside of them "
            f"({outside.relative_to(folder)}); move these into one of them, or rename what is no split."
        )
    if "train" not in kinds:
        raise InvalidData(
            f"{folder} has folders called {listed(sorted(splits))} and none called train; name the one with "
            "the pictures to train on train, or give data.path= of a folder whose pictures may be divided."
        )
    return _with_evaluation(folder, places), ""


def check_empty(folder: Path, files: Sequence[Path]) -> None:
    """Refuse a folder that is called like a split and holds no picture, beside one that does.

    Raises:
        InvalidData: there is such a folder.
    """
    filled = {file.relative_to(folder).parts[0] for file in files}
    called = [x.name for x in folder.iterdir() if x.is_dir() and split_word(x.name)[0]]
    empty = sorted(name for name in called if name not in filled)
    if empty and len(empty) < len(called):
        raise InvalidData(
            f"{folder / empty[0]} is called like a split and holds no picture; put its pictures there, or "
            "remove it and the others are divided at random."
        )


def by_split(files: Sequence[Path], places: Sequence[Place]) -> dict[str, list[int]]:
    """Return the positions of the pictures of each split, or those of all under ``all``."""
    parts: dict[str, list[int]] = {}
    for index, _ in enumerate(files):
        parts.setdefault(places[index].split or "all", []).append(index)
    return {split: parts[split] for split in (*SPLITS, "all") if split in parts}


def class_problem(classes: Mapping[str, Sequence[str]], wanted: bool | None, is_ambiguous: bool) -> str:
    """Return why the folders of pictures are not their classes; empty if they are.

    Args:
        classes: the class of each picture by split, empty for one that lies in no class folder.
        wanted: whether the user has said so; None if not.
        is_ambiguous: whether one of them is called like a split.
    """
    known = sorted({name for part in classes.values() for name in part})
    if "" in known:
        return "some pictures lie in no class folder"
    if len(known) < 2:
        return f"there is one class folder, '{known[0]}'"
    if not wanted and is_ambiguous:
        return "one of the folders is called like a split"
    if not wanted and 2 * len(known) > sum(map(len, classes.values())):
        return "there are hardly more pictures than folders"
    if "train" in classes and set(known) != set(classes["train"]):
        missing = sorted(set(known) - set(classes["train"]))
        return f"the training pictures lack the class {listed(missing)}"
    return ""


def _split_of(name: str, names: set[str]) -> str:
    """Return the split of a folder. ``cats_train`` is one only beside ``cats_test`` or ``cats_val``."""
    split, rest = split_word(name)
    if not split or not rest:
        return split
    siblings = {word for word, base in map(split_word, names) if word and base == rest}
    return split if len(siblings) > 1 and "train" in siblings else ""


def _with_evaluation(folder: Path, places: list[Place]) -> list[Place]:
    """Return the places in which a folder called eval is the test, or beside a test the validation."""
    kinds = {place.split for place in places}
    if "eval" not in kinds:
        return places
    free = [split for split in ("test", "val") if split not in kinds]
    if not free:
        raise InvalidData(
            f"{folder} has folders for validation and for the test, and another one called eval; move it."
        )
    return [place._replace(split=free[0]) if place.split == "eval" else place for place in places]
