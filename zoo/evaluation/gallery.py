"""Pictures for looking at a model, small enough to be kept with every run: ``gallery.npz``.

Samples of one list of seeds that all models share, their nearest training examples, the same samples at other
temperatures, truncations and numbers of steps, a walk through the latents between two test images, and the
most and the least likely test images. For points of the plane: the way from noise to data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.evaluation.device import placement
from zoo.models.core import rng
from zoo.models.core.capabilities import (
    HasLatents,
    HasSamplePath,
    HasSampleSteps,
    HasTruncation,
    declared,
    offers,
)
from zoo.models.core.precision import full_float32

SEED = 0  # of the samples, for every model and every run
MOST, LEAST = 16, 2  # images in each part
BUDGET = 100_000  # bytes of all parts before compression, about, from which the number of images follows
PARTS = 10  # about
TEMPERATURES = (0.5, 0.7, 0.85)
TEMPERATURE = (0.7,)  # of models that draw in many steps
TRUNCATIONS = (0.4, 0.7)
STEPS = (5, 10, 25)
FRAMES = 11  # of a walk between two images
PATH_FRAMES, PATH_POINTS = 12, 400
LARGEST_SEQUENTIAL = 1024  # dimensions; beyond, one sample after the other costs too much for pictures
TRAINING_AT_ONCE = 5000


@torch.no_grad()
def gallery(
    model: nn.Module,
    splits: Mapping[str, Tensor],
    spec: DataSpec,
    likelihoods: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray] | None:
    """Return the arrays of ``gallery.npz``; None for data that are neither images nor points of the plane.

    A part that the model cannot compute is left out. Images are ``(..., C, H, W)``, bytes where the data
    have at most 256 levels.

    - ``samples`` ``(n, ...)``, and ``neighbours``, the training example nearest to each in pixels, with
      ``neighbour_indices`` and ``neighbour_distances``;
    - ``temperature``, ``truncation`` and ``steps`` ``(V, n, ...)``: the same seeds at ``temperature_values``
      and so on ``(V,)``;
    - ``interpolation`` ``(11, ...)`` from one test image to another, ``interpolation_indices`` ``(2,)``;
    - ``likely`` and ``unlikely`` ``(n, ...)`` with ``..._indices`` and ``..._values``, log p in nats;
    - ``path`` ``(T, N, 2)``, float16: points on their way from noise to data.

    Args:
        model: with keyed noise; it is evaluated in evaluation mode.
        splits: ``train`` and ``test`` in data space.
        spec: the data.
        likelihoods: ``values`` and ``indices`` of scored test examples.
    """
    if not declared(model).keyed_noise or not (spec.is_image or spec.shape == (2,)):
        return None
    device, dtype = placement(model)
    arrays: dict[str, np.ndarray] = {}
    was_training = model.training
    model.eval()
    try:
        with full_float32(device):
            if not spec.is_image:
                arrays |= _attempt(lambda: _path(model))
                return arrays or None
            n = number_of_images(spec)
            arrays |= _attempt(lambda: _neighbours(_draw(model, n), splits["train"], spec))
            if declared(model).sampling != "sequential" or spec.dim <= LARGEST_SEQUENTIAL:
                for name, values, change in variants(model):
                    arrays |= _attempt(partial(_grid, name, values, change, n, spec))
                arrays |= _attempt(lambda: _interpolation(model, splits["test"].to(device, dtype), spec))
            arrays |= _extremes(splits["test"], likelihoods, spec, n)
    finally:
        model.train(was_training)
    return arrays or None


def number_of_images(spec: DataSpec) -> int:
    """Return the number of images in a part, so that all parts together stay small.

    >>> number_of_images(DataSpec((1, 28, 28), 256)), number_of_images(DataSpec((3, 32, 32), 256))
    (12, 3)
    """
    return max(LEAST, min(MOST, BUDGET // (PARTS * spec.dim)))


Change = Callable[[Any, int], Tensor]


def variants(model: nn.Module) -> Iterator[tuple[str, tuple[float, ...], Change]]:
    """Yield for each knob of a model's sampler its name, its values, and the function that draws with it."""
    whole = model
    at_once = declared(model).sampling == "parallel"
    yield "temperature", TEMPERATURES if at_once else TEMPERATURE, lambda value, n: _draw(model, n, value)
    if offers(model, HasTruncation) and model.truncation == 1:
        yield "truncation", TRUNCATIONS, lambda value, n: _with(whole, "truncation", value, n)
    if offers(model, HasSampleSteps):
        fewer = tuple(steps for steps in STEPS if steps < model.sample_steps)
        if fewer:
            yield "steps", fewer, lambda value, n: _with(whole, "sample_steps", int(value), n)


def _draw(model: Any, n: int, temperature: float = 1.0) -> Tensor:
    samples: Tensor = model.sample(n, temperature, seed=SEED)
    return samples


def _with(model: nn.Module, setting: str, value: Any, n: int) -> Tensor:
    with _set(model, setting, value):
        return _draw(model, n)


@contextmanager
def _set(model: nn.Module, setting: str, value: Any) -> Iterator[None]:
    """Change a setting of a model's sampler for a while."""
    former = getattr(model, setting)
    setattr(model, setting, value)
    try:
        yield
    finally:
        setattr(model, setting, former)


def _grid(
    name: str, values: tuple[float, ...], change: Change, n: int, spec: DataSpec
) -> dict[str, np.ndarray]:
    """Return ``n`` images for each value of a sampler's setting, and the values."""
    return {
        name: np.stack([_pixels(change(value, n), spec) for value in values]),
        f"{name}_values": np.array(values),
    }


def _attempt(make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of a part; none if the model cannot compute it."""
    try:
        return make()
    except (
        ZooError,
        RuntimeError,
        ValueError,
    ):  # an overflow, a solver that does not converge, no memory left
        return {}


def _pixels(images: Tensor, spec: DataSpec) -> np.ndarray:
    small = spec.levels is not None and spec.levels <= 256
    pixels: np.ndarray = images.detach().cpu().to(torch.uint8 if small else torch.float16).numpy()
    return pixels


def _neighbours(samples: Tensor, train: Tensor, spec: DataSpec) -> dict[str, np.ndarray]:
    distances, indices = nearest_of(samples.cpu().float(), train)
    return {
        "samples": _pixels(samples, spec),
        "neighbours": _pixels(train[indices], spec),
        "neighbour_indices": indices.int().numpy(),
        "neighbour_distances": distances.numpy(),
    }


def nearest_of(samples: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Euclidean distance of each sample to its nearest training example, and that one's place."""
    rows = samples.flatten(1)
    best = torch.full((len(rows),), math.inf)
    places = torch.zeros(len(rows), dtype=torch.long)
    for first in range(0, len(train), TRAINING_AT_ONCE):
        part = train[first : first + TRAINING_AT_ONCE].flatten(1).to(rows.dtype)
        distances, nearest = torch.cdist(rows, part, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        closer = distances < best
        best, places = torch.where(closer, distances, best), torch.where(closer, nearest + first, places)
    return best, places


def _interpolation(model: nn.Module, test: Tensor, spec: DataSpec) -> dict[str, np.ndarray]:
    """Return a walk along the great circle between the latents of the first and the middle test image."""
    ends = [0, len(test) // 2]
    if not offers(model, HasLatents) or declared(model).conditional or len(test) < 2:
        return {}
    with rng.keyed(rng.keys(SEED, count=2, device=test.device)):
        latents = model.to_latents(test[ends])
    walk = great_circle(latents[0], latents[1], FRAMES)
    with rng.keyed(rng.keys(SEED, count=FRAMES, device=test.device)):
        images = model.from_latents(walk)
    return {"interpolation": _pixels(images, spec), "interpolation_indices": np.array(ends, dtype=np.int32)}


def great_circle(start: Tensor, end: Tensor, frames: int) -> Tensor:
    """Return ``frames`` points from one latent to another, ``(frames, *shape)``.

    Gaussian latents lie near a sphere, whose inside, where a straight line leads, no sample comes from. The
    way is along the great circle, with the norm interpolated; a straight line between parallel latents.
    """
    a, b = start.flatten().double(), end.flatten().double()
    share = torch.linspace(0, 1, frames, dtype=torch.float64, device=a.device)[:, None]
    norms = a.norm(), b.norm()
    cosine = (a @ b / (norms[0] * norms[1]).clamp(min=1e-12)).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle < 1e-3 or math.pi - angle < 1e-3:
        points = (1 - share) * a + share * b
    else:
        way = (
            ((1 - share) * angle).sin() * a / norms[0] + (share * angle).sin() * b / norms[1]
        ) / angle.sin()
        points = way * ((1 - share) * norms[0] + share * norms[1])
    return points.to(start).reshape(frames, *start.shape)


def _extremes(
    test: Tensor, likelihoods: Mapping[str, np.ndarray] | None, spec: DataSpec, n: int
) -> dict[str, np.ndarray]:
    """Return the test images of the highest and of the lowest likelihood."""
    if likelihoods is None or len(likelihoods["values"]) < 2 * n:
        return {}
    order = np.argsort(likelihoods["values"], kind="stable")
    extremes = {}
    for name, places in (("likely", order[::-1][:n]), ("unlikely", order[:n])):
        indices = likelihoods["indices"][places]
        extremes[name] = _pixels(test[torch.from_numpy(indices.astype(np.int64))], spec)
        extremes[f"{name}_indices"], extremes[f"{name}_values"] = indices, likelihoods["values"][places]
    return extremes


def _path(model: nn.Module) -> dict[str, np.ndarray]:
    device, _ = placement(model)
    if not offers(model, HasSamplePath) or declared(model).conditional:
        return {}
    with rng.keyed(rng.keys(SEED, count=PATH_POINTS, device=device)):
        path = model.sample_path(PATH_POINTS, PATH_FRAMES)
    return {"path": path.cpu().half().numpy()}
