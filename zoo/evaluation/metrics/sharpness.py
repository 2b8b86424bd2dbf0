"""``sharpness``, ``sharpness/spectrum``: fine structure of samples relative to real images."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.errors import unknown
from zoo.evaluation.base import TwoSampleMetric, Value
from zoo.evaluation.context import Context, subset
from zoo.evaluation.features import as_levels, to_uint8
from zoo.evaluation.metrics import compare, metric
from zoo.evaluation.sharpness import (
    LAPLACIAN,
    ROUNDS,
    SIGMAS,
    SPECTRUM,
    as_blurred,
    calibration,
    relative,
    unseen,
)

MEASURES = {"laplacian": LAPLACIAN, "spectrum": SPECTRUM}


class Sharpness(TwoSampleMetric):
    r"""Fine structure of generated images divided by that of real ones; 1 is as sharp as real.

    .. math:: s(x) / s(r)

    with s, by ``measure``,

    - ``"laplacian"``: the mean over images of the variance of the Laplacian of grey values (Pech-Pacheco et
      al. 2000); blur and lack of contrast lower it;
    - ``"spectrum"``: the share of spectral energy at 0.25 cycles per pixel and above; contrast does not
      matter.

    Noise raises both: the nearer to 1 the better.

    Args:
        measure: ``"laplacian"`` or ``"spectrum"``.
        levels: number of levels of the images ``(B, C, H, W)``, which hold ``0..levels-1``, integers of any
            dtype or floats without fractions.
        value_range: ``(low, high)`` of float images in another range; they are brought to the nearest level.
        seed: seed of the bootstrap for the standard error.
        rounds: number of its resamplings; 0: no error.
        reset_real_features: whether ``reset`` removes the real images too.
        kwargs: those of :class:`torchmetrics.Metric`.

    >>> import torch
    >>> images = torch.randint(256, (20, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    >>> metric = Sharpness()
    >>> metric.update(images, real=True)
    >>> metric.update(images // 2, real=False)  # half the contrast, a quarter of the variance
    >>> round(metric.compute().item(), 2)
    0.25
    """

    plot_lower_bound = 0.0

    def __init__(
        self,
        measure: Literal["laplacian", "spectrum"] = "laplacian",
        *,
        levels: int = 256,
        value_range: tuple[float, float] | None = None,
        seed: int = 0,
        rounds: int = ROUNDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if measure not in MEASURES:
            raise unknown("measure of sharpness", measure, tuple(MEASURES))
        self.measure, self.levels, self.value_range = measure, levels, value_range
        self.seed, self.rounds = seed, rounds

    def _rows(self, x: Tensor) -> Tensor:
        pixels = to_uint8(as_levels(x.cpu(), self.levels, self.value_range), self.levels)
        return MEASURES[self.measure].parts(pixels).to(device=self.device, dtype=torch.float64)

    def _estimate(self) -> Value:
        generated, real = self._sets()
        value, error = relative(MEASURES[self.measure], generated, real, self.seed, self.rounds)
        return Value(value, error, n=len(generated), details={"reference_n": len(real)})


@metric("sharpness", direction="one", needs=("samples", "pixels"))
def sharpness(context: Context) -> Value:
    """Mean variance of the Laplacian of samples divided by that of test images: 1 is as sharp as real.

    Blur and lack of contrast lower it, noise raises it. ``blur_sigma`` is the Gaussian blur, in pixels, under
    which real images have the same value.
    """
    return calibrated(context, "laplacian")


@metric("sharpness/spectrum", direction="one", needs=("samples", "pixels"))
def sharpness_of_spectrum(context: Context) -> Value:
    """Share of spectral energy in the higher frequencies, samples divided by test images: 1 is as sharp as
    real.

    Contrast does not matter. ``blur_sigma`` as in ``sharpness``.
    """
    return calibrated(context, "spectrum")


def calibrated(context: Context, measure: Literal["laplacian", "spectrum"]) -> Value:
    """Return the sharpness of the samples, with the calibration curve and the blur that it corresponds to."""
    settings = context.settings
    judge = Sharpness(measure, seed=settings.seed, rounds=context.half_samples)
    ratio = compare(judge, context.pixels("samples"), context.pixels("test"))
    curve = context.once(
        ("blurred test", measure),
        lambda: calibration(
            MEASURES[measure],
            subset(context.examples("test"), settings.pairwise_examples, settings.seed),
            context.spec,
        ),
    )
    sigma, remark = as_blurred(ratio.value, curve)
    details = ratio.details | {
        "blur_sigma": sigma,
        "unseen_blur": unseen(curve),
        "calibration": {"sigma": list(SIGMAS), "value": curve},
    }
    return dataclasses.replace(ratio, details=details | ({"blur_remark": remark} if remark else {}))
