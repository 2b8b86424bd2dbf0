"""Tests of sharpness: known images, scipy as oracle, and the recovery of a known blur."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import torch

from zoo.data.digits import Digits
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import measure
from zoo.evaluation.sharpness import (
    LAPLACIAN,
    SIGMAS,
    SPECTRUM,
    as_blurred,
    blur,
    calibration,
    laplacian_variance,
    relative,
    spectral_energy,
    unseen,
)


def noise(n=40, size=16, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, channels, size, size), generator=generator, dtype=torch.uint8)


def sharper(fineness, ours, real, seed=0):
    return relative(fineness, fineness.parts(ours), fineness.parts(real), seed)


def test_laplacian_and_spectrum_agree_with_scipy():
    x = noise(5, 9, channels=3)[:, :, :7]
    grey = x.double().mean(1).numpy()
    inner = np.stack([scipy.ndimage.laplace(image)[1:-1, 1:-1] for image in grey])
    np.testing.assert_allclose(laplacian_variance(x)[:, 0], inner.var((1, 2)), rtol=1e-10)
    energy = scipy.fft.dctn(grey, axes=(1, 2), norm="ortho") ** 2
    radius = np.hypot(np.arange(7)[:, None] / 14, np.arange(9) / 18)
    high, whole = spectral_energy(x).T
    np.testing.assert_allclose(high, (energy * (radius >= 0.25)).sum((1, 2)), rtol=1e-10)
    np.testing.assert_allclose(whole, energy.sum((1, 2)) - energy[:, 0, 0], rtol=1e-10)
    np.testing.assert_allclose(whole, ((grey - grey.mean((1, 2), keepdims=True)) ** 2).sum((1, 2)), rtol=1e-9)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0, 4.0])
def test_blur_agrees_with_scipy(sigma):
    x = noise(2, 8).double()[:, :, :6]
    ours = blur(x, sigma).numpy()
    theirs = scipy.ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="reflect")
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert torch.equal(blur(x, 0.0), x)


def test_contrast_lowers_the_laplacian_and_not_the_spectrum():
    real, faint = noise(seed=1), (noise(seed=1) // 2)
    assert sharper(LAPLACIAN, faint, real)[0] == pytest.approx(0.25, abs=0.01)
    assert sharper(SPECTRUM, faint, real)[0] == pytest.approx(1, abs=0.01)
    smooth = (torch.arange(16.0).expand(40, 1, 16, 16) * 10 + torch.rand(40, 1, 1, 1) * 50).to(torch.uint8)
    assert sharper(LAPLACIAN, smooth, real)[0] < 0.01
    assert sharper(SPECTRUM, smooth, real)[0] < 0.1


def test_the_error_is_the_spread_over_repeated_draws():
    def images(seed):  # images of different contrast, so that their mean varies
        contrast = torch.rand(60, 1, 1, 1, generator=torch.Generator().manual_seed(1000 + seed))
        return (noise(60, 8, seed=seed) * contrast).to(torch.uint8)

    drawn = [sharper(LAPLACIAN, images(2 * i), images(2 * i + 1), i) for i in range(60)]
    values, errors = torch.tensor(drawn, dtype=torch.float64).T
    assert errors.mean() == pytest.approx(values.std().item(), rel=0.35)
    assert values.mean() == pytest.approx(1, abs=0.1)


def test_a_known_blur_is_recovered():
    data = Digits()
    data.setup()
    test, train = data.splits["test"].double(), data.splits["train"][:500].double()
    for fineness in (LAPLACIAN, SPECTRUM):
        curve = calibration(fineness, test, data.spec)
        assert curve[0] == 1
        assert curve[-1] < 0.5
    for sigma in (0.5, 0.65, 1.0):
        samples = data.spec.quantise(blur(train, sigma)).float()
        metrics = measure(Context(samples, data.splits, data.spec))
        for name in ("sharpness", "sharpness/spectrum"):
            details = metrics[name].details
            assert details["blur_sigma"] == pytest.approx(sigma, abs=0.06)
            assert details["calibration"]["sigma"] == list(SIGMAS)
            assert ("blur_remark" in details) == (name == "sharpness/spectrum" and sigma > 0.5)
            assert details["unseen_blur"] == 0.3  # seventeen levels
            assert details["floor"] == pytest.approx(1, abs=0.05)


def test_an_ambiguous_blur_has_a_remark():
    """Under strong blur the digits' measure rises again: 4 pixels have the value of less than one."""
    data = Digits()
    data.setup()
    train = data.splits["train"][:500].double()
    for sigma in (2.0, 3.0, 4.0):
        samples = data.spec.quantise(blur(train, sigma)).float()
        details = measure(Context(samples, data.splits, data.spec))["sharpness/spectrum"].details
        assert details["blur_sigma"] < 1.5
        assert details["blur_remark"] == "or above 1.5 pixels: such blur has these values too"


def test_values_beyond_the_calibration_curve_have_a_remark():
    curve = [1.0, 0.9, 0.95, 0.5, *[0.4] * (len(SIGMAS) - 4)]
    assert as_blurred(1.2, curve) == (0.0, "sharper than real images")
    assert as_blurred(1.0, curve) == (0.0, None)
    assert as_blurred(0.95, curve) == (pytest.approx(0.1), None)
    assert as_blurred(0.7, curve) == (pytest.approx(0.35), None)  # after the rise, from 0.9 to 0.5
    assert as_blurred(0.4, curve) == (SIGMAS[4], "or above 0.5 pixels: such blur has these values too")
    assert as_blurred(0.1, curve) == (SIGMAS[4], "blurrier than real images under 0.5 pixels")
    falls = [1.0, 1.0, *(0.9**i for i in range(1, len(SIGMAS) - 1))]
    assert as_blurred(0.1, falls) == (SIGMAS[-1], "blurrier than real images under 4 pixels")
    assert as_blurred(falls[-1], falls) == (pytest.approx(SIGMAS[-1]), None)
    assert (unseen(falls), unseen(curve), unseen([1.0] * len(SIGMAS))) == (SIGMAS[1], 0.0, SIGMAS[-1])


def test_images_under_4x4_pixels_have_no_sharpness():
    with pytest.raises(ZooError, match="4x4"):
        laplacian_variance(noise(2, 3))
    small = DataSpec((1, 2, 2), levels=256)
    splits = {s: noise(9, 2, seed=i) for i, s in enumerate(("train", "test"))}
    assert "4x4" in measure(Context(noise(8, 2), splits, small))["sharpness"].reason
