"""Tests of the style-based generator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.networks.style import ModulatedConv, to_sphere
from zoo.models.stylegan import StyleGAN


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("conditional", [False, True])
def test_truncation_moves_w_towards_its_mean(conditional: bool) -> None:
    model = StyleGAN(DataSpec((2,), classes=3), conditional=conditional, truncation=0.3).double()
    generator = model.generator
    y = torch.arange(6) % 3 if conditional else None
    context = model.one_hot(y, 6)
    styles: list[Tensor] = []
    hook = generator.pictures[0].scale.register_forward_hook(lambda layer, args, out: styles.append(args[0]))
    samples = model.sample(6, y=y, seed=0)
    hook.remove()
    assert samples.shape == (6, 2)
    with rng.keyed(rng.keys(0, count=6)):
        z = to_sphere(model.latents(6, model.latent_dim))
    with torch.no_grad():
        w, mean = generator.style(z, context), generator.mean_style(context)
        many = to_sphere(torch.randn(20_000, model.latent_dim, dtype=torch.float64))
        labels = model.one_hot(torch.zeros(20_000, dtype=torch.long), 20_000) if conditional else None
        torch.testing.assert_close(mean[0], generator.style(many, labels).mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(styles[0], mean + 0.3 * (w - mean))


@pytest.mark.parametrize("demodulate", [True, False])
def test_a_modulated_convolution_equals_one_kernel_for_each_example(demodulate: bool) -> None:
    """The layer equals eq. 1 and 3 of Karras et al. 2020, computed with a kernel for each example."""
    layer = ModulatedConv(4, 6, 3, 5, demodulate).double()
    h, w = torch.randn(3, 4, 7, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    for example, style, output in zip(h, w, layer(h, w), strict=True):
        kernel = layer.weight * layer.scale(style)[None, :, None, None]
        if demodulate:
            kernel = kernel / kernel.flatten(1).norm(dim=1)[:, None, None, None]
        torch.testing.assert_close(output, nn.functional.conv2d(example[None], kernel, padding=1)[0])


def test_per_pixel_noise_is_fresh_and_of_learned_strength() -> None:
    model = StyleGAN(DataSpec((1, 8, 8)), width=4)
    z = torch.zeros(2, model.latent_dim)
    same = model.generator(z)
    torch.testing.assert_close(same[0], same[1])  # its strength starts at zero
    for group in model.generator.layers:
        for layer in group:
            nn.init.ones_(layer.strength)
    grainy = model.generator(z)
    assert (grainy[0] - grainy[1]).abs().min() > 0
    calm = model.generator(z, temperature=0.0)
    torch.testing.assert_close(calm[0], calm[1])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (2,)], ids=str)
def test_an_untrained_generator_maps_different_latents_to_different_images(shape: tuple[int, ...]) -> None:
    """w starts with unit variance, so that different latents give different images."""
    model = StyleGAN(DataSpec(shape))
    with torch.no_grad():
        w = model.generator.style(to_sphere(torch.randn(256, model.latent_dim)))
        pictures = model.generate(256)
    assert 0.5 < w.square().mean() < 2
    assert pictures.std(0).mean() > 0.3 * pictures.std()
