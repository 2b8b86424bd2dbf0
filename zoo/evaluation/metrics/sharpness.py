"""``sharpness``: fine structure of samples relative to real images, by the Laplacian."""

from __future__ import annotations

from zoo.evaluation.context import Context, subset
from zoo.evaluation.metrics import Value, metric
from zoo.evaluation.sharpness import (
    LAPLACIAN,
    SIGMAS,
    SPECTRUM,
    Fineness,
    as_blurred,
    calibration,
    relative,
    unseen,
)


@metric("sharpness", direction="one", needs=("samples", "pixels"))
def sharpness(context: Context) -> Value:
    """Mean variance of the Laplacian of samples over that of test images: 1 is as sharp as real.

    Blur and lack of contrast lower it, noise raises it. ``blur_sigma`` is the Gaussian blur in pixels under
    which real images have the same value.
    """
    return compared(context, LAPLACIAN)


@metric("sharpness/spectrum", direction="one", needs=("samples", "pixels"))
def sharpness_of_spectrum(context: Context) -> Value:
    """Share of spectral energy in the higher frequencies, samples over test images: 1 is as sharp as real.

    A share, so that contrast has no part in it. ``blur_sigma`` as in ``sharpness``.
    """
    return compared(context, SPECTRUM)


def compared(context: Context, fineness: Fineness) -> Value:
    """Samples against the test split, with the calibration curve and the blur that it reads."""
    settings = context.settings
    reference = context.pixels("test")
    value, error = relative(fineness, context.pixels("samples"), reference, settings.seed)
    curve = context.once(
        ("blurred test", fineness),
        lambda: calibration(
            fineness,
            subset(context.examples("test"), settings.pairwise_examples, settings.seed),
            context.spec,
        ),
    )
    sigma, remark = as_blurred(value, curve)
    details = {
        "blur_sigma": sigma,
        "unseen_blur": unseen(curve),
        "calibration": {"sigma": list(SIGMAS), "value": curve},
        "reference_n": len(reference),
    }
    return Value(value, error, details=details | ({"blur_remark": remark} if remark else {}))
