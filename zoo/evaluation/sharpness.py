"""Sharpness: the amount of fine structure in images, and the blur with the same effect."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.evaluation.features import to_uint8

SIGMAS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)  # pixels
CUT_OFF = 0.25  # cycles per pixel, half of the largest frequency on the grid
ROUNDS = 200
ROUNDING = 1e-9  # an energy below this is rounding error; one grey value is 1


@dataclass(frozen=True)
class Fineness:
    """A measure of fine structure: a function from a set of images to a number.

    Attributes:
        parts: function from bytes ``(N, C, H, W)`` to K statistics of each image ``(N, K)``.
        whole: function from the statistics' means over images ``(..., K)`` to the measure ``(...)``.
    """

    parts: Callable[[Tensor], Tensor]
    whole: Callable[[Tensor], Tensor]

    def __call__(self, pixels: Tensor) -> float:
        """Return the measure of a set of images, bytes ``(N, C, H, W)``."""
        return self.whole(self.parts(pixels).mean(0)).item()


def grey(pixels: Tensor) -> Tensor:
    """Return the mean over the channels, ``(N, H, W)``, float64."""
    return pixels.to(torch.float64).mean(1)


def laplacian_variance(pixels: Tensor) -> Tensor:
    """Return the variance over an image's inner pixels of up + down + left + right - 4 centre, ``(N, 1)``.

    The focus measure of Pech-Pacheco et al. (2000), on grey values.

    Raises:
        ZooError: images lower or narrower than 4 pixels.
    """
    x = grey(pixels)
    if min(x.shape[1:]) < 4:
        raise ZooError("Sharpness is measured on images of at least 4x4 pixels.")
    inner = x[:, 1:-1, 1:-1]
    laplacian = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:] - 4 * inner
    return laplacian.flatten(1).var(1, correction=0)[:, None]


def spectral_energy(pixels: Tensor) -> Tensor:
    """Return the energy at :data:`CUT_OFF` cycles per pixel and above, and the total energy, ``(N, 2)``.

    The total leaves out the image's mean. Energies are squares of the orthonormal cosine transform of grey
    values, so they sum to the squares of the grey values. The transform continues an image by its mirror
    image, so that a difference between opposite edges does not count as fine structure.

    Raises:
        ZooError: images lower or narrower than 4 pixels.
    """
    x = grey(pixels)
    if min(x.shape[1:]) < 4:
        raise ZooError("Sharpness is measured on images of at least 4x4 pixels.")
    height, width = x.shape[1:]
    energy = (cosines(height) @ x @ cosines(width).T).square()
    energy = energy * (energy > ROUNDING)
    rows, columns = (torch.arange(n, dtype=torch.float64) / (2 * n) for n in (height, width))
    radius = (rows[:, None].square() + columns.square()).sqrt()
    return torch.stack([(energy * (radius >= CUT_OFF)).sum((1, 2)), (energy * (radius > 0)).sum((1, 2))], 1)


def cosines(n: int) -> Tensor:
    """Return the orthonormal cosine transform (DCT-II), ``(n, n)``; row k has k / (2n) cycles per pixel."""
    k, position = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    basis = torch.cos(math.pi * k * (position + 0.5) / n) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis


LAPLACIAN = Fineness(laplacian_variance, lambda means: means[..., 0])
SPECTRUM = Fineness(spectral_energy, lambda means: means[..., 0] / means[..., 1])


def blur(x: Tensor, sigma: float) -> Tensor:
    """Return images ``(N, C, H, W)`` blurred by a Gaussian of ``sigma`` pixels.

    The Gaussian is cut off at 4 sigma; images are mirrored at their edges.
    """
    return blurring(x.shape[-2], sigma) @ x.to(torch.float64) @ blurring(x.shape[-1], sigma).T


def blurring(n: int, sigma: float) -> Tensor:
    """Return the matrix ``(n, n)`` that blurs a line of ``n`` pixels."""
    reach = int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma).square()) if sigma else torch.ones(1).double()
    source = (torch.arange(n)[:, None] + offsets) % (2 * n)
    source = torch.where(source < n, source, 2 * n - 1 - source)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    return matrix.scatter_add_(1, source, (weights / weights.sum()).expand(n, -1).contiguous())


def calibration(fineness: Fineness, real: Tensor, spec: DataSpec) -> list[float]:
    """Return the measure of real images blurred by each of :data:`SIGMAS`, relative to the unblurred images.

    Blurred images are rounded to the data's levels again, like samples.

    Args:
        fineness: the measure.
        real: real images in data space, ``(N, C, H, W)``.
        spec: the data.
    """
    assert spec.levels is not None
    values = [fineness(to_uint8(spec.quantise(blur(real, sigma)), spec.levels)) for sigma in SIGMAS]
    return [value / values[0] for value in values]


def as_blurred(value: float, curve: list[float]) -> tuple[float, str | None]:
    """Return the least blur, in pixels, that gives real images this ``value``, and a remark or None.

    The curve is interpolated linearly up to its lowest point, and replaced by its running minimum where it
    rises on the way. Beyond the lowest point a stronger blur has the same values again, because the little
    structure that remains has a different spectrum; the remark states this.

    Args:
        value: measure of the samples relative to real images.
        curve: result of :func:`calibration`.
    """
    turn = min(range(len(curve)), key=lambda i: curve[i])
    lowest = torch.cummin(torch.tensor(curve[: turn + 1], dtype=torch.float64), 0).values.tolist()
    if value > lowest[0]:
        return 0.0, "sharper than real images"
    if not value >= lowest[turn]:  # also if it is NaN, which is an error in the metric
        return SIGMAS[turn], f"blurrier than real images under {SIGMAS[turn]:g} pixels"
    i = next(i for i in range(turn + 1) if value >= lowest[i])
    fall = lowest[i - 1] - lowest[i] if i else 0.0
    part = (lowest[i - 1] - value) / fall if fall > 0 else 0.0
    sigma = SIGMAS[i - 1] + part * (SIGMAS[i] - SIGMAS[i - 1]) if i else 0.0
    again = value <= max(curve[turn + 1 :], default=-math.inf)
    return sigma, f"or above {SIGMAS[turn]:g} pixels: such blur has these values too" if again else None


def unseen(curve: list[float]) -> float:
    """Return the largest of :data:`SIGMAS`, in pixels, that leaves real images of these levels unchanged."""
    changed = next((i for i, value in enumerate(curve) if value != curve[0]), len(curve))
    return SIGMAS[changed - 1]


def relative(
    fineness: Fineness, ours: Tensor, reference: Tensor, seed: int, rounds: int = ROUNDS
) -> tuple[float, float | None]:
    """Return the ratio of the measures of ``ours`` and of ``reference``, and its standard error.

    The error is over the draw of both sets, by resampling their images.

    Args:
        fineness: the measure.
        ours, reference: ``fineness.parts`` of the images, ``(N, K)`` and ``(M, K)``.
        seed: seed of the resampling.
        rounds: number of resamplings; 0: no error.

    Raises:
        ZooError: the reference has no fine structure.
    """
    generator = torch.Generator().manual_seed(seed)
    sharp = fineness.whole(reference.mean(0))
    if not sharp > 0:
        raise ZooError("The real images have no fine structure, so sharpness is undefined.")

    def resampled(x: Tensor) -> Tensor:
        rows = torch.randint(len(x), (rounds, len(x)), generator=generator).to(x.device)
        return fineness.whole(torch.stack([x[row].mean(0) for row in rows]))

    error = (resampled(ours) / resampled(reference)).std().item() if rounds else None
    return (fineness.whole(ours.mean(0)) / sharp).item(), error
