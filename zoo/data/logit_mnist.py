"""MNIST in logit space, bit for bit the data of Papamakarios et al. 2017, table 2."""

from __future__ import annotations

import numpy as np
import torch

from zoo.data.module import SPLITS, DataModule
from zoo.data.spec import DataSpec
from zoo.data.torchvision_sets import MNIST

ALPHA = 1e-6


class LogitMNIST(DataModule):
    """MNIST as 784 continuous columns: one uniform draw for each pixel, then logit(a + (1 - 2a) x), a = 1e-6.

    x = k/256 + u/256, and the noise u of all splits comes from one ``numpy.random.RandomState(42)``: first
    for the training images, then for validation and test, as in the authors' program (gpapamak/maf,
    ``datasets/mnist.py``). So the data are theirs to the last bit before the rounding to float32. A density
    of these data in nats is theirs too: the logit's log-determinant is *not* in it.

    Args:
        name: name of the data set in the record.
        root: folder of the files; see :class:`~zoo.data.torchvision_sets.MNIST`.
    """

    split_rule = (
        "official test; validation is the last 10000 of the training images; dequantised with seed 42"
    )

    def __init__(self, name: str = "mnist_logit", root: str | None = None) -> None:
        super().__init__(name, root)

    def read(self) -> None:
        images = MNIST(root=self.root)
        images.setup()
        random = np.random.RandomState(42)
        self.spec = DataSpec((images.spec.dim,), classes=10)
        for split in SPLITS:
            pixels = images.splits[split].flatten(1).numpy()
            x = pixels.astype(np.float32) / np.float32(256)
            x = ALPHA + (1 - 2 * ALPHA) * (x + random.rand(*x.shape) / 256.0)
            self.splits[split] = torch.from_numpy(np.log(x / (1 - x)).astype(np.float32))
            self.labels[split] = images.labels[split]
