"""Couplings and the layers beside them, against hand calculation and autograd."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import nn

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData
from zoo.models import noise
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.coupling import AffineCoupling, make_mask
from zoo.models.bijections.invertible_conv import InvertibleConv1x1
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.reverse import Reverse
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.evaluations import count_evaluations
from zoo.models.networks.mlp import MLP


class Exercise(nn.Module):
    """s = x1/2 - 1 and t = 2 x1 + 1 for the second dimension."""

    def forward(self, x):
        first = x[:, :1]
        return torch.cat([first * 0, 0.5 * first - 1, first * 0, 2 * first + 1], 1)


def test_the_lectures_exercise():
    coupling = AffineCoupling(torch.tensor([True, False]), Exercise(), bound=None)
    z, log_det = coupling(torch.tensor([[2.0, 3.0], [0.0, 1.0]]))
    torch.testing.assert_close(z, torch.tensor([[2.0, 8.0], [0.0, 1 + math.exp(-1)]]))
    torch.testing.assert_close(log_det, torch.tensor([0.0, -1.0]))
    x, log_det = coupling.inverse(torch.tensor([[2.0, 8.0], [0.0, 1.0]]))
    torch.testing.assert_close(x, torch.tensor([[2.0, 3.0], [0.0, 0.0]]))
    torch.testing.assert_close(log_det, torch.tensor([0.0, 1.0]))


NAMES = ["realnvp", "glow"]


def perturbed(name, spec, amount=0.1, **settings):
    """A float64 model in evaluation mode whose weights are all off their starting values."""
    model = zoo.build(name, spec, **settings).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.parametrize("name", ["realnvp", "glow", "maf"])
@pytest.mark.parametrize("shape", [(2,), (5,), (1, 2, 2), (1, 3, 3), (3, 1, 1), (2, 4, 2), (1, 4, 4)])
@pytest.mark.parametrize("batch", [1, 4])
def test_exact_inverse_and_log_det(name, shape, batch):
    if name == "maf":  # five wide layers that each stretch by up to e^5: more would lose the digits compared
        model = perturbed(name, DataSpec(shape), amount=0.03)
    else:
        model = perturbed(name, DataSpec(shape), width=8)
    x = torch.randn(batch, *shape, dtype=torch.float64)
    z, log_det = model.transform(x)
    back, back_log_det = model.transform.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-10)
    for i in range(batch):
        jacobian = torch.autograd.functional.jacobian(lambda v: model.transform(v[None])[0].flatten(), x[i])
        expected = torch.linalg.slogdet(jacobian.reshape(len(jacobian), -1))[1]
        torch.testing.assert_close(log_det[i], expected, rtol=0, atol=1e-8)


def test_actnorm_sets_itself_once_and_remembers():
    layer = ActNorm(3)
    x = 5 + 2 * torch.randn(500, 3, 4, 4)
    layer.eval()
    torch.testing.assert_close(layer(x)[0], x)
    layer.train()
    z, _ = layer(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    before = layer.bias.clone()
    layer(x + 100)
    assert torch.equal(layer.bias, before)
    fresh = ActNorm(3)
    fresh.load_state_dict(layer.state_dict())
    fresh.train()(x + 100)
    assert torch.equal(fresh.bias, before)


def test_actnorm_survives_a_constant_channel():
    z, log_det = ActNorm(2).train()(torch.full((4, 2), 3.0))
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()


def test_convolution_mixes_every_pixel_alike():
    layer = InvertibleConv1x1(4)
    x = torch.randn(2, 4, 3, 5)
    z, log_det = layer(x)
    weight = layer(torch.eye(4)[:, :, None, None])[0][:, :, 0, 0].T
    torch.testing.assert_close(z, torch.einsum("ij,bjhw->bihw", weight, x))
    torch.testing.assert_close(log_det, 15 * torch.linalg.slogdet(weight)[1].expand(2), atol=1e-5, rtol=0)


def test_refusals():
    with pytest.raises(InvalidData, match="odd"):
        Squeeze()(torch.zeros(1, 1, 3, 4))
    with pytest.raises(InvalidData, match="mask"):
        make_mask("channel", (4,))
    with pytest.raises(zoo.ZooError, match="at least 2"):
        zoo.build("glow", zoo.DataSpec((1,)))
    with pytest.raises(zoo.ZooError, match="at least 1"):
        zoo.build("glow", zoo.DataSpec((1, 4, 4)), levels=0)
    with pytest.raises(zoo.ZooError, match="at least 1"):
        zoo.build("realnvp", zoo.DataSpec((1, 4, 4)), scales=0)
    with pytest.raises(ValueError, match="permutation of 3"):
        Permutation([0, 0, 2])


def test_the_bound_holds_and_none_lifts_it():
    def network(x):
        return torch.cat([100 * torch.ones_like(x), torch.zeros_like(x)], 1)

    mask, x = make_mask("alternating", (3,)), torch.ones(1, 3)
    for bound, expected in ((2.0, 2.0), (None, 100.0)):
        _, log_det = AffineCoupling(mask, network, bound)(x)
        torch.testing.assert_close(log_det, torch.tensor([expected]))  # one dimension of three is transformed


@pytest.mark.parametrize("kind", ["alternating", "half", "checkerboard", "channel"])
def test_masks_split_and_flip(kind):
    for shape in [(2,), (5,)] if kind in ("alternating", "half") else [(2, 1, 3), (4, 3, 3)]:
        mask = make_mask(kind, shape)
        assert mask.any()
        assert not mask.all()
        assert torch.equal(make_mask(kind, shape, flip=True), ~mask)


@pytest.mark.parametrize("layer", [Permutation([3, 0, 2, 1]), Reverse()])
@pytest.mark.parametrize("shape", [(4,), (4, 2, 3)])
def test_permutations_undo_themselves(layer, shape):
    x = torch.randn(5, *shape)
    z, log_det = layer(x)
    assert not torch.equal(z, x)
    assert torch.equal(layer.inverse(z)[0], x)
    assert torch.equal(log_det, torch.zeros(5))


def test_squeeze_keeps_blocks_together():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    z, _ = Squeeze()(x)
    assert z[0, :, 0, 0].tolist() == [0, 1, 4, 5]
    assert torch.equal(Squeeze().inverse(z)[0], x)


def test_what_leaves_a_scale_is_standardised_by_what_stays():
    prior = ConvNet(2, 4, width=4, blocks=0).double()
    nn.init.normal_(prior.last.weight)
    scale = MultiScale(Permutation(range(4)), (4, 2, 2), Permutation(range(2)), prior)
    inner = MultiScale(Permutation(range(2)), (2, 2, 2), None, None)
    scale.deeper = inner
    x = torch.randn(3, 4, 2, 2, dtype=torch.float64)
    z, log_det = scale(x)
    mean, raw = prior(x[:, :2]).chunk(2, 1)
    log_std = 3 * torch.tanh(raw / 3)
    assert z.shape == (3, 16)
    torch.testing.assert_close(z[:, 8:], x[:, :2].flatten(1))
    normal = torch.distributions.Normal(mean, log_std.exp())
    expected = normal.log_prob(x[:, 2:]).flatten(1).sum(1)
    standard = torch.distributions.Normal(0, 1).log_prob(z[:, :8]).sum(1)
    torch.testing.assert_close(standard + log_det, expected)


def test_actnorm_sets_itself_only_in_a_training_forward():
    layer, x = ActNorm(2), 5 + torch.randn(50, 2)
    layer.eval()(x)
    layer.train().inverse(x)
    layer(x[:0])
    assert not layer.initialised
    untouched = {key: value.clone() for key, value in layer.state_dict().items()}
    layer(x)
    assert layer.initialised
    layer.load_state_dict(untouched)
    z, _ = layer(x - 9)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_first_batch_sets_every_actnorm_and_a_reload_keeps_the_density(name):
    spec = DataSpec((1, 4, 4), levels=17)
    x = torch.randint(0, 17, (32, *spec.shape))
    model = zoo.build(name, spec, width=8).train()
    model.log_prob(x)
    assert all(layer.initialised for layer in model.modules() if isinstance(layer, ActNorm))
    other = zoo.build(name, spec, width=8)
    other.load_state_dict(model.state_dict())
    other.train().log_prob(x[:3])
    torch.testing.assert_close(other.eval().log_prob(x), model.eval().log_prob(x))


@pytest.mark.parametrize("name", NAMES)
def test_density_on_the_plane_integrates_to_one(name):
    model = perturbed(name, DataSpec((2,)), amount=0.2, hidden=[16, 16], bound=1.0)
    with torch.no_grad():
        reach = 1.5 * model.sample(4000, seed=0).abs().max().item()
        axis = torch.linspace(-reach, reach, 500, dtype=torch.float64)
        density = model.log_prob(torch.cartesian_prod(axis, axis)).exp()
    assert abs(density.sum().item() * (axis[1] - axis[0]).item() ** 2 - 1) < 2e-3


@pytest.mark.parametrize("name", NAMES)
def test_mass_of_all_small_images_is_one(name):
    """P(x) is the mean over the dequantisation noise of p(x + u); over all 256 images it sums to 1."""
    model = perturbed(name, DataSpec((1, 2, 2), levels=4), width=8)
    images = torch.tensor(list(product(range(4), repeat=4))).view(-1, 1, 2, 2)
    total = 0.0
    with torch.no_grad():
        for salt in range(200):
            with noise.keyed(noise.content_keys(images, salt)):
                total += model.log_prob(images).exp().sum().item() / 200
    assert abs(total - 1) < 0.04


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "levels"),
    [((1, 2, 2), 4), ((1, 8, 8), 17), ((1, 28, 28), 256), ((3, 32, 32), 256), ((3, 1, 1), 4),
     ((1, 7, 7), 4), ((1, 3, 2), 4), ((2,), None), ((3,), None), ((43,), None)],
)  # fmt: skip
def test_every_shape_samples_in_range_and_trains_every_parameter(name, shape, levels):
    torch.manual_seed(0)
    spec = DataSpec(shape, levels=levels)
    model = perturbed(name, spec, amount=0.05, **({"width": 8} if len(shape) == 3 else {}))
    x = torch.randint(0, levels, (3, *shape)) if levels else torch.randn(3, *shape)
    sample = model.sample(3, seed=0)
    assert sample.shape == x.shape
    assert torch.isfinite(sample).all()
    if levels:
        assert torch.equal(sample, sample.round())
        assert sample.min() >= 0
        assert sample.max() <= levels - 1
    model.log_prob(x).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.numel() == 0 or parameter.grad.abs().max() > 0, key


def test_conditioners_count_and_start_at_zero():
    with count_evaluations() as counter:
        assert not MLP(3, 4)(torch.randn(2, 3)).any()
        assert not ConvNet(2, 4, 8, 1)(torch.randn(2, 2, 3, 3)).any()
    assert counter.count == 2
    assert MLP(3, 4, [8], nn.Tanh, zero_init_last=False)(torch.randn(2, 3)).any()


def test_log_determinants_are_summed_in_float32():
    for layer in (ActNorm(4), InvertibleConv1x1(4)):
        _, log_det = layer.bfloat16().eval()(torch.randn(2, 4, 2, 2, dtype=torch.bfloat16))
        assert log_det.dtype == torch.float32
