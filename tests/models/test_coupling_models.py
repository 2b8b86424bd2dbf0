"""Real NVP, Glow and the coupling spline flow: inverses, gradients, ranges and refusals."""

from __future__ import annotations

import pytest
import torch
from contract import jacobian_log_det, roughen
from flow_tools import COUPLINGS, perturbed
from torch import nn

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, Unsound, ZooError
from zoo.models.bijections.coupling import make_partition
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.reversible import Reversible
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.networks.mlp import MLP


@pytest.mark.parametrize("name", ["normal", "diagonal", "mixture"])
@pytest.mark.parametrize("model", COUPLINGS)
def test_learned_bases_can_be_trained_and_sampled(model, name):
    made = perturbed(model, DataSpec((3,)), base=name)
    made.log_prob(torch.randn(4, 3)).sum().backward()
    assert all(p.grad is not None for p in made.parameters())
    assert made.sample(5, seed=0).isfinite().all()


@pytest.mark.parametrize("name", [*COUPLINGS, "maf"])
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


@pytest.mark.parametrize("name", COUPLINGS)
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


@pytest.mark.parametrize("name", COUPLINGS)
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


@pytest.mark.parametrize("name", COUPLINGS)
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


def test_overflow_is_an_error_in_evaluation_not_a_nan():
    model = zoo.build("realnvp", DataSpec((2,)), bound=None, layers=4, normalisation="none").eval()
    for module in model.modules():
        if isinstance(module, MLP):
            nn.init.constant_(module.layers[-1].bias, 80.0)
    with pytest.raises(Unsound, match="NaN"):
        model.log_prob(torch.ones(1, 2))
