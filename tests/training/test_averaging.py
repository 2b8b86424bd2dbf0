"""Averaged weights against the recurrence that defines them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.training.averaging import averaged_copy


class Point(nn.Module):
    """One weight and one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.25]))
        self.register_buffer("seen", torch.tensor(0))


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_average_follows_its_recurrence_from_the_first_update_on(decay):
    model = Point()
    copy = averaged_copy(model, decay)
    mean = torch.tensor([0.25])
    for t in range(1, 40):
        with torch.no_grad():
            model.weight.fill_(torch.sin(torch.tensor(1.0 * t)))
            model.seen.fill_(t)
        copy.update_parameters(model)
        d = min(decay, (1 + t) / (10 + t))
        mean = torch.lerp(mean, model.weight.detach(), 1 - d)
        assert torch.equal(copy.module.weight, mean)
        assert int(copy.module.seen) == t, "buffers are copied"


def test_the_copy_needs_no_gradients_and_the_model_keeps_its_gradients():
    model = Point()
    copy = averaged_copy(model, 0.5)
    assert not any(p.requires_grad for p in copy.parameters())
    assert model.weight.requires_grad


def test_a_loaded_copy_continues_the_average():
    model = Point()
    one, two = averaged_copy(model, 0.999), averaged_copy(model, 0.999)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for _ in range(5):
        one.update_parameters(model)
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        model.weight.fill_(-1.0)
    one.update_parameters(model)
    two.update_parameters(model)
    assert torch.equal(one.module.weight, two.module.weight)
