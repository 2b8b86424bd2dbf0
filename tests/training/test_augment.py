"""Augmentations against their definitions, pixel by pixel."""

from __future__ import annotations

import pytest
import torch

from zoo.models.core import rng
from zoo.training.augment import AUGMENTATIONS, augmentation, colour, cutout, translation

SHAPES = [(1, 8, 8), (3, 32, 32), (3, 5, 7), (1, 1, 1), (1, 28, 28)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_shape_is_kept_the_gradient_exists_and_the_keys_decide(name: str, shape: tuple[int, ...]) -> None:
    change = augmentation([name])
    torch.manual_seed(0)
    x = torch.rand(6, *shape, dtype=torch.float64).requires_grad_()
    keys = rng.keys(3, count=6)
    with rng.keyed(keys):
        y = change(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    with rng.keyed(keys[2:4]):
        torch.testing.assert_close(change(x[2:4]), y[2:4])  # independent of the rest of the batch
    y.sum().backward()
    assert x.grad.isfinite().all()
    with rng.keyed(rng.keys(4, count=6)):
        assert x.numel() < 10 or not torch.equal(change(x), y)


def test_no_names_give_the_identity_and_several_are_applied_in_order() -> None:
    x = torch.rand(3, 3, 8, 8)
    assert augmentation([])(x) is x
    with rng.keyed(rng.keys(1, count=3)):
        both = augmentation(["translation", "cutout"])(x)
    with rng.keyed(rng.keys(1, count=3)):
        torch.testing.assert_close(cutout(translation(x)), both)


def test_translation_shifts_by_up_to_an_eighth() -> None:
    x = torch.arange(1.0, 1 + 16 * 24).view(1, 1, 16, 24).expand(400, 1, 16, 24)
    y = translation(x)
    seen = set()
    for image in y[:, 0]:
        for down in range(-2, 3):
            for right in range(-3, 4):
                shifted = torch.zeros(16, 24)
                rows, columns = (
                    slice(max(0, -down), 16 - max(0, down)),
                    slice(max(0, -right), 24 - max(0, right)),
                )
                place = slice(max(0, down), 16 + min(0, down)), slice(max(0, right), 24 + min(0, right))
                shifted[place] = x[0, 0, rows, columns]
                if torch.equal(shifted, image):
                    seen.add((down, right))
    assert len(seen) == 5 * 7  # every shift occurs, and no other:
    assert all(float(image.max()) > 300 for image in y[:, 0])


def test_cutout_zeroes_one_rectangle_of_half_the_sides() -> None:
    holes = cutout(torch.ones(500, 2, 8, 12)) == 0
    assert holes[:, 0].equal(holes[:, 1])
    holes = holes[:, 0]
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert holes.sum((1, 2)).equal(heights * widths)  # a rectangle
    assert heights.max() == 4
    assert widths.max() == 6
    assert heights.min() < 4  # cut by the border
    assert holes.any(0).all()


def test_colour_moves_brightness_saturation_and_contrast() -> None:
    torch.manual_seed(0)
    x = torch.randn(2000, 3, 4, 4, dtype=torch.float64)
    y = colour(x)
    brightness = (y - x).mean((1, 2, 3))
    assert -0.5 <= brightness.min() < -0.45
    assert 0.45 < brightness.max() <= 0.5
    grey_x, grey_y = x.mean(1), y.mean(1)
    contrast = grey_y.flatten(1).std(1) / grey_x.flatten(1).std(1)
    assert 0.5 <= contrast.min() < 0.52
    assert 1.48 < contrast.max() <= 1.5
    hue = (y - grey_y[:, None]).flatten(1).norm(dim=1) / (x - grey_x[:, None]).flatten(1).norm(dim=1)
    saturation = hue / contrast
    assert 0 <= saturation.min() < 0.05
    assert 1.95 < saturation.max() <= 2 + 1e-9
    grey = torch.randn(3, 1, 4, 4)
    with rng.keyed(rng.keys(0, count=3)):  # a grey image has no saturation to change
        y = colour(grey)
    assert torch.linalg.matrix_rank(torch.stack([grey[0].flatten(), y[0].flatten(), torch.ones(16)])) == 2
