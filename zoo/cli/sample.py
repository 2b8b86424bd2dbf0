"""``zoo sample``: samples of a trained run as a picture or an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.factory import load
from zoo.running.artifacts import write_grid


def write_samples(run: Path, n: int, out: Path, temperature: float, seed: int, device: str) -> None:
    """Draw samples from a trained run and write them to a file.

    Args:
        run: the directory of a run, or a checkpoint.
        n: number of samples.
        out: a ``.png`` (a square grid of images) or a ``.npy`` (an array ``(n, *shape)`` in data space).
        temperature: factor on the standard deviation of the noise.
        seed: seed of the noise.
        device: device to sample on.

    Raises:
        ZooError: no run there, another kind of file, or vectors asked for as a picture.
    """
    if n < 1:
        raise ZooError(f"-n is the number of samples, at least 1; got {n}.")
    if out.suffix not in (".png", ".npy"):
        raise ZooError(f"-o takes a .png (images) or a .npy; got '{out}'.")
    model = load(run, device)
    samples = model.sample(n, temperature, seed=seed)
    if out.suffix == ".npy":
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, samples.cpu().numpy())
    elif model.spec.is_image and model.spec.levels:
        write_grid(out, samples, model.spec.levels)
    else:
        raise ZooError("These samples are vectors, not images; write them with -o FILE.npy.")
    print(out)
