"""MADE over bits: normalised, autoregressive in the drawn order, a mixture of probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import zoo
from zoo.errors import ZooError

SPEC = zoo.DataSpec((6,), levels=2)
EVERYTHING = torch.cartesian_prod(*[torch.arange(2.0)] * 6).double()
CASES = [
    {"hidden": []},
    {"hidden": [8]},
    {"hidden": [8, 9], "masks": 3, "order": "random"},
    {"hidden": [8], "masks": 0, "test_masks": 5, "order": "random", "direct": False, "activation": "tanh"},
]


def build(scale=1.0, spec=SPEC, **settings):
    torch.manual_seed(0)
    model = zoo.build("made_binary", spec, **settings).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_probabilities_sum_to_one_and_samples_follow_them(settings):
    model = build(**settings)
    p = model.log_prob(EVERYTHING).exp().detach()
    assert p.sum().item() == pytest.approx(1)
    samples = model.sample(20_000, seed=1)
    codes = (samples @ (2.0 ** torch.arange(5, -1, -1)).double()).long()
    shares = torch.bincount(codes, minlength=64) / 20_000
    assert ((shares - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt() + 1e-4).all()


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_an_output_depends_on_the_dimensions_before_it_in_the_drawn_order(settings):
    network = build(**settings).network
    for draw in range(3):
        masks = network.masks(draw)
        jacobian = torch.autograd.functional.jacobian(
            lambda x, masks=masks: network(x[None], masks)[0], torch.rand(6).double()
        )
        ordered = jacobian[masks.sequence][:, masks.sequence]
        assert torch.equal(ordered.triu(), torch.zeros(6, 6).double())
    orders = {tuple(network.masks(draw).sequence.tolist()) for draw in range(6)}
    assert len(orders) == (1 if network.order == "natural" else len(orders))
    assert (len(orders) > 1) == (network.order == "random")


def test_a_draw_is_a_function_of_its_number():
    one, two = build(hidden=[8], order="random"), build(scale=2.0, hidden=[8], order="random")
    for first, second in zip(one.network.masks(7).layers, two.network.masks(7).layers, strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(one.network.masks(7).direct, one.network.masks(8).direct)


def test_several_draws_are_a_mixture_of_their_probabilities():
    model = build(hidden=[8], masks=3, order="random")
    parts = torch.stack([model.of_draw(EVERYTHING, draw) for draw in range(3)])
    torch.testing.assert_close(model.log_prob(EVERYTHING), parts.exp().mean(0).log())
    assert not torch.allclose(parts[0], parts[1])
    assert model.likelihood_details() == {"masks": 3}


def test_validation_averages_fewer_draws_than_the_test_without_end():
    model = build(hidden=[8], masks=0, order="random", validation_masks=2, test_masks=4)
    parts = torch.stack([model.of_draw(EVERYTHING, draw) for draw in range(4)])
    torch.testing.assert_close(model.validation_log_prob(EVERYTHING), parts[:2].logsumexp(0) - math.log(2))
    torch.testing.assert_close(model.log_prob(EVERYTHING), parts.logsumexp(0) - math.log(4))


def test_training_draws_one_mask_for_a_batch_and_another_in_the_next():
    model = build(hidden=[8], masks=0, order="random").train()
    values = []
    for seed in range(4):
        torch.manual_seed(seed)
        values.append(model.log_prob(EVERYTHING).detach())
        assert values[-1].exp().sum().item() == pytest.approx(1), "rows of several draws would not sum to 1"
    assert not torch.allclose(values[0], values[1])


def test_without_hidden_layers_made_is_a_logistic_regression():
    model = build(hidden=[])
    weight, bias = model.network.direct.weight, model.network.direct.bias
    x = EVERYTHING[[5, 44]]
    expected = torch.zeros(2).double()
    for d in range(6):
        logit = x[:, :d] @ weight[d, :d] + bias[d]
        expected -= F.binary_cross_entropy_with_logits(logit, x[:, d], reduction="none")
    torch.testing.assert_close(model.log_prob(x), expected)


def test_weights_start_orthogonal_and_biases_at_zero():
    torch.manual_seed(0)
    network = zoo.build("made_binary", SPEC, hidden=[4]).network
    first, last = (layer.weight for layer in network.layers)
    torch.testing.assert_close(first @ first.T, torch.eye(4))
    torch.testing.assert_close(last.T @ last, torch.eye(4))
    assert all((layer.bias == 0).all() for layer in network.layers)


def test_zeros_start_a_network_without_hidden_layers_alone():
    network = zoo.build("made_binary", SPEC, hidden=[], initialisation="zeros").network
    assert (network.direct.weight == 0).all()
    with pytest.raises(ZooError, match=r"model\.initialisation"):
        zoo.build("made_binary", SPEC, initialisation="zeros")


def test_neither_hidden_layers_nor_direct_weights_are_refused():
    with pytest.raises(ZooError, match="direct=true"):
        zoo.build("made_binary", SPEC, hidden=[], direct=False)
    with pytest.raises(ZooError, match="binary"):
        zoo.build("made_binary", zoo.DataSpec((6,)))
