"""Tests of couplings and their models against hand calculation, autograd and quadrature."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from contract import check_bijection, jacobian_log_det, roughen
from torch import nn

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, Unsound, ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Chain
from zoo.models.bijections.coupling import AdditiveCoupling, AffineCoupling, Halves, bounded, make_partition
from zoo.models.bijections.dequantise import UniformDequantisation
from zoo.models.bijections.elementwise import Affine, Logit
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.reverse import Reverse
from zoo.models.bijections.reversible import Reversible
from zoo.models.bijections.spline_coupling import SplineCoupling
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.glow_net import GlowNet
from zoo.models.networks.mlp import MLP
from zoo.models.networks.residual_net import ResidualConvNet, ResidualMLP


class Exercise(nn.Module):
    """A conditioner with s = x1/2 - 1 and t = 2 x1 + 1 for the second dimension."""

    def forward(self, first):
        return torch.cat([0.5 * first - 1, 2 * first + 1], 1)


def test_the_coupling_of_the_lectures_exercise_has_its_solution():
    coupling = AffineCoupling(Halves(2), Exercise(), bounded(None))
    z, log_det = coupling(torch.tensor([[2.0, 3.0], [0.0, 1.0]]))
    torch.testing.assert_close(z, torch.tensor([[2.0, 8.0], [0.0, 1 + math.exp(-1)]]))
    torch.testing.assert_close(log_det, torch.tensor([0.0, -1.0]))
    x, log_det = coupling.inverse(torch.tensor([[2.0, 8.0], [0.0, 1.0]]))
    torch.testing.assert_close(x, torch.tensor([[2.0, 3.0], [0.0, 0.0]]))
    torch.testing.assert_close(log_det, torch.tensor([0.0, 1.0]))


NAMES = ["realnvp", "glow", "nsf_coupling"]
CASES = [
    ("half", (5,)),
    ("half", (2,)),
    ("channel", (3, 2, 3)),
    ("checkerboard", (1, 3, 3)),
    ("checkerboard", (2, 1, 2)),
]


def make_coupling(kind, partition, image, context):
    """Return a coupling with a small conditioner that is not the identity."""
    outputs = {"affine": 2, "shift first": 2, "sigmoid": 2, "additive": 1, "spline": 3 * 4 - 1}[kind]
    sizes = partition.given, outputs * partition.changed
    net = ConvNet(*sizes, 8, 1, context) if image else MLP(*sizes, [16], context=context)
    made = {
        "affine": lambda: AffineCoupling(partition, net),
        "shift first": lambda: AffineCoupling(partition, net, bounded(None), shift_first=True),
        "sigmoid": lambda: AffineCoupling(partition, net, bounded("sigmoid")),
        "additive": lambda: AdditiveCoupling(partition, net),
        "spline": lambda: SplineCoupling(partition, net, bins=4, bound=2.0),
    }[kind]()
    return roughen(made, 0.2)


@pytest.mark.parametrize(("flip", "context"), [(False, 0), (True, 2)])
@pytest.mark.parametrize(("mask", "shape"), CASES)
@pytest.mark.parametrize("kind", ["affine", "shift first", "sigmoid", "additive", "spline"])
def test_couplings_meet_the_contract(kind, mask, shape, flip, context):
    coupling = make_coupling(kind, make_partition(mask, shape, flip), len(shape) == 3, context)
    check_bijection(coupling, torch.randn(3, *shape), torch.randn(3, context) if context else None)


@pytest.mark.parametrize("name", ["normal", "diagonal", "mixture"])
@pytest.mark.parametrize("model", NAMES)
def test_learned_bases_can_be_trained_and_sampled(model, name):
    made = perturbed(model, DataSpec((3,)), base=name)
    made.log_prob(torch.randn(4, 3)).sum().backward()
    assert all(p.grad is not None for p in made.parameters())
    assert made.sample(5, seed=0).isfinite().all()


def perturbed(name, spec, amount=0.1, **settings):
    """Return a float64 model in evaluation mode with all weights perturbed."""
    model = zoo.build(name, spec, **settings).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def smooth(name):
    """Return a model on the plane whose density is far from normal and can be integrated on a grid."""
    if name == "nsf_coupling":
        return perturbed(name, DataSpec((2,)), amount=0.15, hidden=12, blocks=1, steps=3, bins=5)
    return perturbed(name, DataSpec((2,)), amount=0.2, hidden=[16, 16], bound=1.0)


@pytest.mark.parametrize("name", [*NAMES, "maf"])
@pytest.mark.parametrize("shape", [(2,), (5,), (1, 2, 2), (1, 3, 3), (3, 1, 1), (2, 4, 2), (1, 4, 4)])
@pytest.mark.parametrize("batch", [1, 4])
def test_models_invert_exactly_and_have_autograds_log_det(name, shape, batch):
    """The weights are perturbed as far as the conditioning of the layers allows.

    Deep random layers amplify rounding so much that no bound would separate a wrong inverse from a correct
    one. Trained weights are tested in test_trained.py.
    """
    if name == "maf":  # five wide layers with scales up to e^5: larger weights would lose digits
        model = perturbed(name, DataSpec(shape), amount=0.03)
    elif name == "nsf_coupling":  # likewise: slopes of a spline reach 1e-3
        model = perturbed(name, DataSpec(shape), amount=0.1, width=8, hidden=16, blocks=1)
    else:
        model = perturbed(name, DataSpec(shape), width=8)
    x = torch.randn(batch, *shape, dtype=torch.float64)
    z, log_det = model.transform(x)
    back, back_log_det = model.transform.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-10)
    torch.testing.assert_close(jacobian_log_det(model.transform, x), log_det, rtol=0, atol=1e-8)


def test_invalid_settings_of_couplings_are_an_error():
    with pytest.raises(InvalidData, match="odd"):
        Squeeze()(torch.zeros(1, 1, 3, 4))
    for kind, shape in [("channel", (4,)), ("half", (1,)), ("checkerboard", (2, 1, 1)), ("half", (2, 2, 2))]:
        with pytest.raises(InvalidData, match="mask"):
            make_partition(kind, shape)
    for name, settings in [
        ("realnvp", {"normalisation": "layernorm"}),
        ("realnvp", {"bound": -1}),
        ("glow", {"bound": "tanh"}),
        ("glow", {"mixing": "qr"}),
        ("nsf_coupling", {"bins": 0}),
        ("nsf_coupling", {"steps": 0}),
        ("realnvp", {"normalisation": "batchnorm", "memory_efficient": True}),
    ]:
        with pytest.raises(ZooError, match=r"model|at least 1|bins|memory"):
            zoo.build(name, zoo.DataSpec((4,)), **settings)
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

    x = torch.ones(1, 2)
    for bound, expected in ((2.0, 2.0), (None, 100.0), ("sigmoid", 0.0)):
        net = nn.Identity()
        net.forward = network
        _, log_det = AffineCoupling(Halves(2), net, bounded(bound))(x)
        torch.testing.assert_close(log_det, torch.tensor([expected]))


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_joining_the_parts_of_a_partition_restores_the_event(kind, shape):
    x = torch.randn(4, *shape)
    kept = []
    for flip in (False, True):
        partition = make_partition(kind, shape, flip)
        given, changed = partition.split(x)
        assert (given.shape[1], changed.shape[1]) == (partition.given, partition.changed)
        assert torch.equal(partition.join(given, changed), x)
        kept.append(partition.join(given, torch.full_like(changed, math.nan)).isnan())
    assert torch.equal(kept[0], ~kept[1]), "the flipped partition exchanges the parts"


@pytest.mark.parametrize("layer", [Permutation([3, 0, 2, 1]), Reverse()])
@pytest.mark.parametrize("shape", [(4,), (4, 2, 3)])
def test_permutations_are_inverted(layer, shape):
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


def test_leaving_channels_are_standardised_by_the_staying_ones():
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


@pytest.mark.parametrize("name", NAMES)
def test_density_on_the_plane_integrates_to_one(name):
    model = smooth(name)
    log_p, cell = on_a_grid(model)
    assert abs(log_p.exp().sum().item() * cell - 1) < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_mass_of_all_small_images_is_one(name):
    """P(x) is the mean over the dequantisation noise of p(x + u); over all 256 images it sums to 1."""
    model = perturbed(name, DataSpec((1, 2, 2), levels=4), width=8)
    images = torch.tensor(list(product(range(4), repeat=4))).view(-1, 1, 2, 2)
    total = 0.0
    with torch.no_grad():
        for salt in range(100):
            with rng.keyed(rng.content_keys(images, salt)):
                total += model.log_prob(images).exp().sum().item() / 100
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


def test_conditioners_count_their_evaluations_and_start_at_zero():
    with count_nfe() as counter:
        assert not MLP(3, 4)(torch.randn(2, 3)).any()
        assert not ConvNet(2, 4, 8, 1)(torch.randn(2, 2, 3, 3)).any()
        assert not GlowNet(2, 4, 8)(torch.randn(2, 2, 3, 3)).any()
        assert not ResidualMLP(3, 4, 8, 2)(torch.randn(2, 3)).any()
        assert not ResidualConvNet(2, 4, 8, 1)(torch.randn(2, 2, 3, 3)).any()
    assert counter.count == 5
    assert MLP(3, 4, [8], nn.Tanh, zero_init_last=False)(torch.randn(2, 3)).any()


# Samples against the density ----------------------------------------------------------------------------


def on_a_grid(model, points=500):
    """Return the log-density of a model on a grid over nearly all of its mass, and the area of a cell."""
    with torch.no_grad():
        samples = model.sample(4000, seed=0)
        low, high = samples.min(0).values, samples.max(0).values
        edges = zip(low - 0.3 * (high - low), high + 0.3 * (high - low), strict=True)
        axes = [torch.linspace(a.item(), b.item(), points, dtype=torch.float64) for a, b in edges]
        return model.log_prob(torch.cartesian_prod(*axes)), math.prod((a[1] - a[0]).item() for a in axes)


def mean_log_prob_gap(model, factor=1.0, n=10000, points=500):
    """Return the gap, in standard errors, of E log p over scaled samples and minus the entropy."""
    log_p, cell = on_a_grid(model, points)
    with torch.no_grad():
        values = model.log_prob(model.sample(n, seed=5) * factor)
    entropy = -(log_p.exp() * log_p).sum().item() * cell
    return abs(values.mean().item() + entropy) / (values.std().item() / math.sqrt(n))


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_the_density(name):
    """The mean log-density over samples is minus the entropy; samples 5% too wide are detected."""
    model = smooth(name)
    assert mean_log_prob_gap(model) < 4
    assert mean_log_prob_gap(model, factor=1.05) > 6


SOLVED = {
    "iresnet": {"hidden": [16, 16], "blocks": 2},
    "residual_flow": {"hidden": [16, 16], "blocks": 2, "scales": 1},
    "ffjord": {"hidden": [16, 16], "solver": {"method": "rk4", "steps": 8}},
}


@pytest.mark.parametrize("name", SOLVED)
def test_samples_of_iterative_inverses_follow_the_density(name):
    """Fixed points and ODEs compute samples and densities differently."""
    model = perturbed(name, DataSpec((2,)), amount=0.3, **SOLVED[name])
    assert mean_log_prob_gap(model, points=150) < 4
    assert mean_log_prob_gap(model, factor=1.05, points=150) > 6


MASKED = {
    "made": (0.3, {"hidden": [16, 16]}),
    "maf": (0.3, {"hidden": [16, 16], "layers": 3, "log_scale_bound": 1.0}),
    "iaf": (0.3, {"hidden": [16, 16], "layers": 3, "log_scale_bound": 1.0}),
    # with larger weights its bins are too narrow for a grid
    "nsf_autoregressive": (0.1, {"hidden": 12, "blocks": 1, "steps": 2, "bins": 5}),
}


@pytest.mark.parametrize("name", MASKED)
def test_samples_of_masked_networks_follow_the_density(name):
    """One direction is a pass, the other one dimension at a time; mixtures and TarFlow have other tests."""
    amount, settings = MASKED[name]
    model = perturbed(name, DataSpec((2,)), amount=amount, **settings)
    assert mean_log_prob_gap(model, points=300) < 4
    assert mean_log_prob_gap(model, factor=1.05, points=300) > 6


# Batch normalisation -------------------------------------------------------------------------------------


# Memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(5,), (1, 4, 4)])
def test_memory_efficient_models_have_the_same_gradients(name, shape):
    spec = DataSpec(shape, levels=17 if len(shape) == 3 else None, classes=2)
    settings = {"hidden": 16, "blocks": 1} if name == "nsf_coupling" else {}
    plain = perturbed(name, spec, amount=0.05, conditional=True, width=8, **settings)
    lean = zoo.build(name, spec, conditional=True, width=8, memory_efficient=True, **settings)
    lean = lean.double().eval()
    lean.load_state_dict(plain.state_dict())
    assert any(isinstance(m, Reversible) for m in lean.modules())
    x = torch.randint(0, 17, (6, *shape)) if spec.levels else torch.randn(6, *shape)
    y, weights = torch.tensor([0, 1, 0, 1, 1, 0]), torch.tensor([0.0, 2, 1, 0.3, 1, 5])
    for model in (plain, lean):
        (model.log_prob(x, y) * weights).sum().backward()
    for (key, ours), theirs in zip(lean.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-8, msg=key)


# Edges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_pixels_at_both_ends_and_points_far_outside_are_finite(name):
    spec = DataSpec((1, 4, 4), levels=256)
    model = roughen(zoo.build(name, spec), 0.05).eval()
    ends = torch.stack([torch.zeros(spec.shape), torch.full(spec.shape, 255.0)])
    assert model.log_prob(ends).isfinite().all()
    model = roughen(zoo.build(name, DataSpec((3,))), 0.05).eval()
    far = torch.tensor([[1e4, -1e4, 1e4], [1e10, 0.0, -1e10]])
    assert model.log_prob(far).isfinite().all()


def test_a_flow_of_two_hundred_layers_inverts():
    model = perturbed("realnvp", DataSpec((4,)), amount=0.02, layers=200, hidden=[8])
    x = torch.randn(3, 4, dtype=torch.float64)
    z, log_det = model.transform(x)
    torch.testing.assert_close(model.transform.inverse(z)[0], x, rtol=0, atol=1e-8)
    torch.testing.assert_close(jacobian_log_det(model.transform, x), log_det, rtol=0, atol=1e-8)


@pytest.mark.parametrize("value", [-50.0, 50.0])
@pytest.mark.parametrize("kind", ["affine", "sigmoid", "spline", "shift first"])
def test_scale_outputs_of_fifty_are_clamped(kind, value):
    coupling = make_coupling(kind, Halves(4), False, 0)
    last = coupling.network.layers[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, value)
    x = torch.randn(5, 4).requires_grad_()
    for z, log_det in (coupling(x), coupling.inverse(x)):
        assert z.isfinite().all()
        assert log_det.isfinite().all()
    (z.sum() + log_det.sum()).backward()
    assert all(p.grad.isfinite().all() for p in [x, *coupling.parameters()])


def test_overflow_is_an_error_in_evaluation_not_a_nan():
    model = zoo.build("realnvp", DataSpec((2,)), bound=None, layers=4, normalisation="none").eval()
    for module in model.modules():
        if isinstance(module, MLP):
            nn.init.constant_(module.layers[-1].bias, 80.0)
    with pytest.raises(Unsound, match="NaN"):
        model.log_prob(torch.ones(1, 2))


def test_preprocessing_layers_meet_the_contract():
    check_bijection(Affine(-2.5, 0.3), torch.randn(3, 2, 2, 1))
    check_bijection(Logit(), torch.rand(4, 3) * 0.98 + 0.01)
    check_bijection(Squeeze(), torch.randn(2, 1, 2, 4))
    check_bijection(Permutation([2, 0, 1]), torch.randn(2, 3))
    check_bijection(Reverse(), torch.randn(2, 3))
    check_bijection(roughen(ActNorm(3)), torch.randn(2, 3, 2, 1))
    check_bijection(Chain([Squeeze(), roughen(ActNorm(4))]), torch.randn(2, 1, 2, 2))


def test_uniform_dequantisation_fills_its_cell_and_stays_in_it():
    x = torch.tensor([[0.0, 255.0]]).expand(2000, 2)
    y = UniformDequantisation()(x)
    assert torch.equal(UniformDequantisation().inverse(y), x)
    assert y.min() >= 0
    assert y.max() < 256
    assert abs((y - x).mean().item() - 0.5) < 0.03
    assert abs((y - x).var().item() - 1 / 12) < 0.006
