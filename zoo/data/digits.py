"""Scikit-learn's digits: 1,797 real 8x8 images with 17 grey levels, inside a dependency."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt
from torch.nn import functional as F

from zoo.checks import checked
from zoo.data.module import DataModule
from zoo.data.spec import DataSpec
from zoo.errors import ZooError

SIDE, LEVELS, FOLDS = 8, 17, 5
VALIDATION = 180


class Digits(DataModule):
    """Scikit-learn's digits: the test set of "Optical Recognition of Handwritten Digits" (Alpaydin 1998).

    Pixels count the ink in 4x4 blocks of a 32x32 bitmap: integers 0..16. The split, stratified by digit, is
    fixed: 1,257 for training, 180 for validation, 360 for test. With ``fold`` the test set is one of five
    disjoint ones, which together are all images: five runs judge likelihoods on each image once
    (cross-fitting).

    Args:
        name: name of the data set in the record.
        root: unused; the images come with scikit-learn.
        side: height and width of the images: 4, 8, 16 or 32 pixels; None: the original 8. The other sizes
            serve to measure how cost grows with D on the same data. Smaller images are means of 2x2 pixels,
            larger ones are bilinear; both are rounded to the same 17 levels (half up).
        flat: give each image as a vector of its pixels, row by row. Models then take the form that they have
            for vectors, which does not know which pixels are neighbours.
        fold: which fifth of the images is the test set: 0 to 4; None: the fixed split, which is no fold.

    Raises:
        ZooError: ``side`` or ``fold`` is none of these.
    """

    @checked("data")
    def __init__(
        self,
        name: str = "digits",
        root: str | Path | None = None,
        side: int | None = None,
        flat: bool = False,
        fold: Annotated[int, Ge(0), Lt(FOLDS)] | None = None,
    ) -> None:
        super().__init__(name, root)
        if side not in (None, 4, 8, 16, 32):
            raise ZooError(f"data.side of digits must be 4, 8, 16 or 32 (null: 8); got {side}.")
        self.side = side or SIDE
        self.flat = flat
        self.fold = fold
        self.split_rule = (
            "stratified by class, fixed: 1257 / 180 / 360"
            if fold is None
            else f"stratified by class, fold {fold} of 0 to {FOLDS - 1} for test, {VALIDATION} for validation"
        )

    def read(self) -> None:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import StratifiedKFold, train_test_split

        digits = load_digits()
        everything = np.arange(len(digits.target))
        if self.fold is None:
            rest, test = train_test_split(everything, test_size=360, random_state=0, stratify=digits.target)
        else:
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
            rest, test = list(folds.split(everything, digits.target))[self.fold]
        train, val = train_test_split(
            rest, test_size=VALIDATION, random_state=0, stratify=digits.target[rest]
        )
        images = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
        labels = torch.from_numpy(digits.target.astype(np.int64))
        images = resized(images, self.side)
        if self.flat:
            images = images.flatten(1)
        self.spec = DataSpec(tuple(images.shape[1:]), levels=LEVELS, classes=10)
        for split, indices in (("train", train), ("val", val), ("test", test)):
            self.splits[split], self.labels[split] = images[indices], labels[indices]


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """Return images ``(N, C, H, W)`` of small integers at another size.

    Smaller images are area means, larger ones are interpolated bilinearly.
    """
    if side == images.shape[-1]:
        return images
    smaller = side < images.shape[-1]
    options = {"mode": "area"} if smaller else {"mode": "bilinear", "align_corners": False}
    return (F.interpolate(images.float(), size=(side, side), **options) + 0.5).floor().to(images.dtype)
