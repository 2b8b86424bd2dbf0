"""``zoo sample``: samples of a trained run as a picture, an array or a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.factory import load
from zoo.record import read
from zoo.running.artifacts import write_grid


def write_samples(run: Path, n: int, out: Path, temperature: float, seed: int, device: str) -> None:
    """Draw samples from a trained run and write them to a file.

    Args:
        run: the directory of a run, or a checkpoint.
        n: number of samples.
        out: a ``.png`` (a square grid of images) a ``.npy`` (an array ``(n, *shape)`` in the model's
            data space) or a ``.csv`` (vectors; those of a user's table in its own columns and units).
        temperature: factor on the standard deviation of the noise.
        seed: seed of the noise.
        device: device to sample on.

    Raises:
        ZooError: there is no run, ``out`` is another kind of file, or vectors would become a picture.
    """
    if n < 1:
        raise ZooError(f"-n is the number of samples, at least 1; got {n}.")
    if out.suffix not in (".png", ".npy", ".csv"):
        raise ZooError(f"-o takes a .png (images), a .npy or a .csv (tables); got '{out}'.")
    model = load(run, device)
    if out.suffix == ".csv" and model.spec.is_image:
        raise ZooError("These samples are images; write them with -o FILE.png or -o FILE.npy.")
    details = _details(run) if out.suffix == ".csv" else {}
    samples = model.sample(n, temperature, seed=seed)
    if out.suffix == ".npy":
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, samples.cpu().numpy())
    elif out.suffix == ".csv":
        from zoo.data.tables import own_units

        if "columns" not in details:  # vectors of a built-in data set: the model samples in their units
            names = [str(i) for i in range(model.spec.dim)]
            details = {"columns": names, "mean": [0.0] * len(names), "std": [1.0] * len(names)}
        out.parent.mkdir(parents=True, exist_ok=True)
        own_units(samples.cpu().numpy(), details).to_csv(out, index=False, float_format="%.9g")
    elif model.spec.is_image and model.spec.levels:
        write_grid(out, samples, model.spec.levels)
    else:
        raise ZooError("These samples are vectors, not images; write them with -o FILE.csv or -o FILE.npy.")
    print(out)


def _details(run: Path) -> dict[str, Any]:
    """Return the details of the data that a run, or the run of a checkpoint, was trained on."""
    data = read(run if run.is_dir() else run.parent.parent).provenance.data
    return {} if data is None else data.details
