"""Tests of all adversarial models: shapes, seeds, labels, network space, truncation."""

from __future__ import annotations

import pytest
import torch
from gan_tools import ARCHITECTURES, every_architecture
from scipy import stats
from shapes import data, every_spec
from torch import nn

from zoo.data.spec import DataSpec
from zoo.errors import NoLikelihood
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.families.adversarial import truncated
from zoo.models.gan import GAN


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@every_spec
@every_architecture
def test_generator_and_critic_take_every_shape(architecture: str, spec: DataSpec) -> None:
    model = ARCHITECTURES[architecture](spec)
    fakes = model.generate(4)
    assert fakes.shape == (4, *spec.shape)
    if spec.levels is not None:
        assert fakes.abs().max() <= 1
    logits = model.critic(fakes)
    assert logits.shape == (4,)
    logits.sum().backward()
    # (A batch can leave a ReLU network's last biases without effect, never all of its weights.)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.generator.parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.critic.parameters())
    assert model.critic(model.to_network(data(spec, 3))).shape == (3,)
    samples = model.sample(5, seed=1)
    assert samples.shape == (5, *spec.shape)
    spec.check(samples)
    with pytest.raises(NoLikelihood):
        model.log_prob(samples)


@every_architecture
def test_images_of_64_pixels_are_generated_and_judged(architecture: str) -> None:
    model = ARCHITECTURES[architecture](DataSpec((3, 64, 64), 256), width=4, hidden=8)
    with torch.no_grad(), count_nfe() as counter:
        assert model.critic(model.generate(1)).shape == (1,)
    assert counter.count == 2


@every_architecture
def test_samples_depend_on_the_seed_only(architecture: str) -> None:
    model = ARCHITECTURES[architecture](DataSpec((1, 8, 8), 17))
    for name, p in model.named_parameters():  # including the per-pixel noise
        if name.endswith("strength"):
            nn.init.ones_(p)
    samples = model.sample(6, seed=7)
    assert samples.equal(model.sample(6, seed=7))
    assert not samples.equal(model.sample(6, seed=8))
    assert samples[:3].equal(model.sample(3, seed=7))
    assert samples.equal(model.eval().sample(6, seed=7))  # no norm depends on the batch or the mode
    assert model.sample(6, temperature=0.0, seed=1).equal(model.sample(6, temperature=0.0, seed=2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [2, 4, 17, 256, 65536])
def test_network_space_and_back_is_exact(levels: int, dtype: torch.dtype) -> None:
    model = GAN(DataSpec((1,), levels))
    x = torch.arange(levels, dtype=dtype)[:, None]
    y = model.to_network(x)
    assert y.min() == -1
    assert y.max() == pytest.approx(1, abs=1e-6)
    assert model.from_network(y).equal(x)


@every_architecture
def test_every_critic_norm_allows_second_derivatives_in_double_precision(architecture: str) -> None:
    for norm in ("none", "group", "spectral", "lipschitz"):
        model = ARCHITECTURES[architecture](DataSpec((1, 8, 8), 17), critic_norm=norm).double()
        x = model.to_network(data(model.spec, 3, torch.float64)).requires_grad_()
        (slope,) = torch.autograd.grad(model.critic(x).sum(), x, create_graph=True)
        slope.square().sum().backward()  # a gradient penalty differentiates twice
        assert model.sample(2).dtype == torch.float64


@pytest.mark.parametrize("spec", [DataSpec((1, 8, 8), 17, classes=3), DataSpec((4,), classes=3)], ids=str)
@every_architecture
def test_generator_and_critic_depend_on_the_label(architecture: str, spec: DataSpec) -> None:
    model = ARCHITECTURES[architecture](spec, conditional=True)
    for p in model.parameters():  # conditional norms start as if there were no label
        p.data += 0.05 * torch.randn_like(p)
    x = model.to_network(data(spec, 3)).expand(3, *spec.shape)
    zero, one = (model.one_hot(label, 3) for label in (0, 1))
    assert not torch.allclose(model.critic(x, zero), model.critic(x, one))
    with rng.keyed(rng.keys(0, count=3)):
        first = model.generate(3, context=zero)
    with rng.keyed(rng.keys(0, count=3)):
        assert not torch.allclose(model.generate(3, context=one), first)


@pytest.mark.parametrize("share", [0.05, 0.383, 0.9])
def test_truncated_latents_follow_the_truncated_normal(share: float) -> None:
    z = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bound = stats.norm.ppf((1 + share) / 2)
    cut = truncated(z, share)
    assert cut.abs().max() <= bound + 1e-12
    assert stats.kstest(cut.numpy(), stats.truncnorm(-bound, bound).cdf).pvalue > 1e-3
    assert (cut.sort().indices == z.sort().indices).all()  # monotone
    assert truncated(z, 1.0) is z
    assert truncated(1e3 * z.float(), share).abs().max() <= bound + 1e-6


def test_truncation_acts_on_samples_only_and_is_recorded() -> None:
    spec = DataSpec((2,))
    free, cut = GAN(spec), GAN(spec, truncation=0.1)
    cut.load_state_dict(free.state_dict())
    assert cut.sample(500, seed=0).std(0).max() < free.sample(500, seed=0).std(0).min()
    with rng.keyed(rng.keys(0, count=5)):
        made = free.generate(5)
    with rng.keyed(rng.keys(0, count=5)):
        assert made.equal(cut.generate(5))
    assert free.sampling_details() == {}
    assert cut.sampling_details() == {"truncation": 0.1}
