"""Tests of FFJORD: flows in a row, scales, and the sizes of the paper."""

from __future__ import annotations

import itertools

import pytest
import torch
from perturb import perturbed
from recipe_tools import recipe_model
from torch import nn

import zoo
from zoo.models.ffjord import FFJORD


@pytest.mark.parametrize(
    ("shape", "settings", "dims"),
    [
        ((2,), {"flows": 3}, [2, 2, 2]),
        ((1, 4, 4), {"scales": 3}, [16, 16, 8, 8, 4]),  # half of 4x2x2 leaves first, then half of 8x1x1
        ((1, 4, 4), {"scales": 2, "flows": 2, "patch": 1}, [16] * 4 + [8] * 2),
        ((1, 6, 2), {"scales": 9}, [12, 12, 6]),
        ((1, 3, 5), {"scales": 2}, [15]),
        ((1, 3, 4), {"flows": 2}, [12, 12]),
    ],
    ids=str,
)
def test_each_ode_transforms_its_part_and_the_whole_inverts(shape, settings, dims):
    """Every ODE has the shape of its part; the whole has autograd's log-determinant."""
    spec = zoo.DataSpec(shape)
    if len(shape) == 3:
        spec = zoo.DataSpec(shape, levels=4, classes=3)
        settings = settings | {"conditional": True}
    model = perturbed(
        FFJORD(
            spec,
            hidden=(8, 8),
            channels=(8,),
            solver={"method": "rk4", "steps": 5, "exact_dim": 64},
            learn_time=True,
            **settings,
        ),
        0.1,
    )
    seen = []
    for ode in model.odes:
        ode.register_forward_hook(lambda _, given, __: seen.append(given[0][0].numel()))
    x = (
        torch.randn(2, *shape)
        if spec.levels is None
        else torch.randint(4, (2, *shape)) + torch.rand(2, *shape)
    )
    x, context = x.double(), None if spec.levels is None else model.one_hot(torch.tensor([0, 2]), 2)
    with torch.no_grad():
        z, log_det = model.transform(x, context)
        back, log_det_back = model.transform.inverse(z, context)
        assert seen == dims
        assert z.shape == (2, *model.base.shape)
        torch.testing.assert_close(model.transform.invert(z, context), back, rtol=0, atol=1e-5)
        assert model.likelihood_details()["trace"] == "exact"
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-4)
    row = None if context is None else context[:1]
    jacobian = torch.autograd.functional.jacobian(
        lambda latents: model.transform.invert(latents, row).flatten(), z[:1]
    )
    truth = torch.linalg.slogdet(jacobian.view(spec.dim, spec.dim))[1]
    assert abs(log_det_back[0] - truth) < 1e-4
    spec.check(model.sample(2, seed=0))


def test_half_of_the_channels_leave_at_each_scale_and_all_get_gradients():
    model = FFJORD(zoo.DataSpec((1, 4, 4), levels=4), channels=(8,), scales=2)
    with torch.no_grad():
        for ode in model.odes:
            for parameter in ode.parameters():
                parameter.zero_()
    x = 4 * torch.rand(3, 1, 4, 4)
    z, _ = model.transform(x)
    squeezed = nn.functional.pixel_unshuffle(model.before(x)[0], 2)
    torch.testing.assert_close(z, torch.cat([squeezed[:, 2:].flatten(1), squeezed[:, :2].flatten(1)], 1))
    model = FFJORD(zoo.DataSpec((1, 4, 4), levels=4), channels=(8,), scales=2, flows=2, learn_time=True)
    model.train().log_prob(torch.randint(4, (3, 1, 4, 4))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def dense_size(dim, *hidden):
    widths = [dim, *hidden, dim]
    return sum(a * b + 4 * b for a, b in itertools.pairwise(widths)) + 1  # and the time


@pytest.mark.parametrize(
    ("name", "odes", "size"),
    [
        ("ffjord_toy", 1, dense_size(2, 64, 64, 64)),
        ("ffjord_mnist", 4 + 4 + 2, None),
        ("ffjord_cifar10", 4 + 4 + 4 + 2, None),
    ],
)
def test_models_of_recipes_have_the_stated_layers(name, odes, size):
    model = recipe_model(name)
    assert len(model.odes) == odes
    if size is not None:
        assert sum(p.numel() for p in model.parameters()) == size
        assert model.likelihood_details()["trace"] == "exact"
    else:
        fields = [ode.field.field for ode in model.odes]
        assert {field.fold for field in fields} == {(1, 1)}
        channels = model.spec.shape[0]
        assert [layer.layer.out_channels for layer in fields[0].layers] == [64, 64, 64, channels]
