"""PacGAN: maxout, packs, the start of the weights, and training."""

from __future__ import annotations

import copy

import pytest
import torch

import zoo
from zoo.errors import ZooError
from zoo.models.pacgan import Maxout
from zoo.training.adversarial import Adversarial

PLANE = zoo.DataSpec((2,))


def test_a_maxout_unit_is_the_largest_of_its_affine_maps():
    layer = Maxout(3, 4, 5)
    x = torch.randn(6, 3)
    weight, bias = layer.linear.weight.view(5, 4, 3), layer.linear.bias.view(5, 4)
    for row in range(6):
        for unit in range(4):
            pieces = [weight[k, unit] @ x[row] + bias[k, unit] for k in range(5)]
            assert layer(x)[row, unit].item() == pytest.approx(max(pieces).item(), abs=1e-6)


def test_the_gradients_of_maxout_are_those_of_the_largest_piece_and_ties_share_them():
    layer = Maxout(3, 4, 5).double()
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x).square(), x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x).square(), x)  # as penalties of slopes need
    torch.nn.init.zeros_(layer.linear.bias)
    layer(torch.zeros(1, 3, dtype=torch.float64)).sum().backward()
    assert layer.linear.bias.grad.tolist() == pytest.approx([1 / 5] * 20)


def build(**settings):
    torch.manual_seed(0)
    return zoo.build("pacgan", PLANE, hidden=[8], critic_hidden=[6], pieces=2, start=0.5, **settings)


@pytest.mark.parametrize("packing", [1, 2, 3])
def test_a_pack_is_consecutive_rows_and_has_one_logit(packing):
    critic = build(packing=packing).critic
    x = torch.randn(6, 2)
    logits = critic(x)
    assert logits.shape == (6 // packing,)
    for index, logit in enumerate(logits):
        pack = x[index * packing : (index + 1) * packing]
        expected = critic.head(critic.features(pack.reshape(1, -1)))[0, 0]
        assert logit.item() == pytest.approx(expected.item(), abs=1e-6)
        changed = x.clone()
        changed[index * packing] += 1
        assert ((critic(changed) - logits).abs() > 1e-7).nonzero().flatten().tolist() == [index]


def test_a_batch_that_is_no_multiple_of_the_packing_is_refused():
    with pytest.raises(ZooError, match=r"model\.packing"):
        build(packing=4).critic(torch.randn(6, 2))
    with pytest.raises(ZooError, match=r"model\.packing"):
        build(packing=4).train().generator(torch.randn(6, 2))


def test_batch_norm_takes_the_examples_of_each_place_of_the_packs_apart_in_training_alone():
    model = build(packing=3)
    z = torch.randn(12, 2)
    ours, theirs = copy.deepcopy(model.generator).train(), copy.deepcopy(model.generator.layers).train()
    generated = ours(z)
    for place in range(3):
        h = z[place::3] @ theirs[0].weight.T
        centred = h - h.mean(0)
        expected = theirs[3](torch.relu(centred / (centred.square().mean(0) + 1e-4).sqrt()))
        torch.testing.assert_close(generated[place::3], expected)
        theirs(z[place::3])  # moves the running statistics
    torch.testing.assert_close(ours.layers.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours.eval()(z), theirs.eval()(z))


def test_weights_start_at_the_given_deviation_and_biases_at_zero():
    torch.manual_seed(0)
    model = zoo.build("pacgan", PLANE)
    inner = model.generator.layers[3].weight
    assert inner.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.generator.layers[0].bias is None
    assert (model.critic.head.bias == 0).all()
    assert (model.generator.layers[-1].bias == 0).all()


def test_labels_are_appended_to_the_examples_of_a_pack():
    spec = zoo.DataSpec((2,), classes=3)
    torch.manual_seed(0)
    model = zoo.build("pacgan", spec, hidden=[8], critic_hidden=[6], conditional=True, start=0.5)
    x, y = torch.randn(4, 2), torch.eye(3)[[0, 1, 2, 0]]
    expected = model.critic.head(model.critic.features(torch.cat([x, y], 1).view(2, 10)))[:, 0]
    torch.testing.assert_close(model.critic(x, y), expected)


def test_samples_do_not_depend_on_their_batch():
    model = build()
    for _ in range(3):
        model.train().generate(16)  # moves the running statistics
    model.eval()
    torch.testing.assert_close(model.sample(8, seed=0)[:3], model.sample(3, seed=0))


def test_training_separates_packs_of_points_from_packs_of_noise():
    torch.manual_seed(0)
    model = build(packing=2)
    rule = Adversarial(model, updates=1, batch_size=64, r1=0.0, lr=1e-2, ema=0.0)
    optimizer = torch.optim.Adam(model.critic.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        real = torch.randn(64, 1).expand(64, 2).clone()
        real[1::2] = -real[::2]  # only as a pair do they tell that they are real
        fake = torch.randn(64, 1).expand(64, 2)
        loss = rule.critic_loss(model.critic(real), model.critic(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    mean = sum(losses[-20:]) / 20
    assert mean < 1.1, "a critic of single points could not fall below 2 ln 2 = 1.39"
