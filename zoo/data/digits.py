"""Scikit-learn's digits: 1,797 real 8x8 images with 17 grey levels, inside a dependency."""

from __future__ import annotations

import numpy as np
import torch

from zoo.data.module import DataModule
from zoo.data.spec import DataSpec


class Digits(DataModule):
    """The test set of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998).

    Pixels count the ink in 4x4 blocks of a 32x32 bitmap: integers 0..16. The split, stratified by digit, is
    fixed: 1,257 for training, 180 for validation, 360 for test.
    """

    split_rule = "stratified by class, fixed: 1257 / 180 / 360"

    def __init__(self, name: str = "digits", root: str | None = None) -> None:
        super().__init__(name, root)

    def read(self) -> None:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        everything = np.arange(len(digits.target))
        rest, test = train_test_split(everything, test_size=360, random_state=0, stratify=digits.target)
        train, val = train_test_split(rest, test_size=180, random_state=0, stratify=digits.target[rest])
        images = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
        labels = torch.from_numpy(digits.target.astype(np.int64))
        self.spec = DataSpec((1, 8, 8), levels=17, classes=10)
        for split, indices in (("train", train), ("val", val), ("test", test)):
            self.splits[split], self.labels[split] = images[indices], labels[indices]
