"""``zoo sample``: samples of a trained run as a picture, an array or a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from zoo.config.code import own_code
from zoo.data.spec import DataSpec
from zoo.data.user import listed
from zoo.errors import ZooError
from zoo.evaluation.protocol import generate
from zoo.factory import chosen_checkpoint, read_checkpoint, restore, spec_of
from zoo.models.core.capabilities import HasSample, missing
from zoo.models.core.model import GenerativeModel
from zoo.record import CONFIG, read
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
        ZooError: there is no run, ``out`` is another kind of file, vectors would become a picture, or the
            code of a user's own model has changed since training.
    """
    if n < 1:
        raise ZooError(f"-n is the number of samples, at least 1; got {n}.")
    if out.suffix not in (".png", ".npy", ".csv"):
        raise ZooError(f"-o takes a .png (images), a .npy or a .csv (tables); got '{out}'.")
    path = chosen_checkpoint(run) if run.is_dir() else run
    checkpoint = read_checkpoint(path)
    spec = spec_of(checkpoint)
    if out.suffix == ".csv" and spec.is_image:
        raise ZooError("These samples are images; write them with -o FILE.png or -o FILE.npy.")
    _check_code(path.parent.parent)
    model = restore(checkpoint, path).to(device).eval()
    details = _details(run) if out.suffix == ".csv" else {}
    samples = _draw(model, n, spec, temperature, seed)
    if out.suffix == ".npy":
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, samples.cpu().numpy())
    elif out.suffix == ".csv":
        from zoo.data.tables import own_units

        if "columns" not in details:  # vectors of a built-in data set: the model samples in their units
            names = [str(i) for i in range(spec.dim)]
            details = {"columns": names, "mean": [0.0] * len(names), "std": [1.0] * len(names)}
        out.parent.mkdir(parents=True, exist_ok=True)
        own_units(samples.cpu().numpy(), details).to_csv(out, index=False, float_format="%.9g")
    elif spec.is_image and spec.levels:
        write_grid(out, samples, spec.levels)
    else:
        raise ZooError("These samples are vectors, not images; write them with -o FILE.csv or -o FILE.npy.")
    print(out)


def _draw(model: nn.Module, n: int, spec: DataSpec, temperature: float, seed: int) -> Tensor:
    """Return samples ``(n, *shape)``. The noise of a user's own model comes from torch's global generator."""
    if isinstance(model, GenerativeModel):
        return model.sample(n, temperature, seed=seed)
    name = type(model).__name__
    if missing(model, HasSample):
        raise ZooError(f"{name} has no method sample(n); give it one to draw samples.")
    if temperature != 1:
        raise ZooError(f"{name}.sample(n) takes no temperature; leave --temperature out.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return generate(model, n, spec, seed)


def _check_code(directory: Path) -> None:
    """Raise a ZooError if a user's own code is not the one that the run in a directory was trained with."""
    try:
        config = yaml.safe_load((directory / CONFIG).read_text(encoding="utf-8"))
        before = dict(config.pop("code", {}))
    except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError):  # a checkpoint without its run
        return
    now = own_code(config) if before else {}
    if changed := [name for name in before if name in now and now[name] != before[name]]:
        raise ZooError(
            f"The code of {listed(changed)} has changed since the run in {directory} was trained; sample "
            "with the old code, or train again."
        )


def _details(run: Path) -> dict[str, Any]:
    """Return the details of the data that a run, or the run of a checkpoint, was trained on."""
    data = read(run if run.is_dir() else run.parent.parent).provenance.data
    return {} if data is None else data.details
