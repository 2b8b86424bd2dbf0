"""Small files in the form of published data sets, for tests; and where the real ones lie."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import torchvision.datasets

from zoo.data.torchvision_sets import MNIST

REAL = Path(os.environ.get("ZOO_DATA") or Path(__file__).parents[3] / "shared" / "data")


def small_mnist(root, monkeypatch):
    """Write 20 + 6 random images in MNIST's files (validation: 5); return the root and the four arrays."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        rng.integers(0, 10, 20, dtype=np.uint8),
        rng.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        rng.integers(0, 10, 6, dtype=np.uint8),
    ]
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for (name, _), array in zip(torchvision.datasets.MNIST.resources, arrays, strict=True):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        content = gzip.compress(header + array.tobytes())
        (folder / name).write_bytes(content)
        resources.append((name, hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(MNIST, "val_size", 5)
    return root, arrays
