"""Sums over processes, with the other process played by known numbers."""

from __future__ import annotations

import pytest
import torch

from zoo.models.core import distributed
from zoo.models.core.distributed import all_reduce_sum, moments


@pytest.fixture
def second_process(monkeypatch):
    """A list of what the second of two processes adds to each reduction, in their order."""
    parts: list[torch.Tensor] = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "new_group", lambda timeout: None)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda x, group: x.add_(parts.pop(0)))
    return parts


def test_value_and_gradient_are_summed_over_the_processes(second_process):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    second_process += [torch.tensor([10.0, 20.0]), torch.tensor([0.5, 0.25])]
    total = all_reduce_sum(x)
    assert total.tolist() == [11, 22]
    (total * torch.tensor([3.0, 4.0])).sum().backward()
    assert x.grad.tolist() == [3.5, 4.25], "the second process's loss depends on this x too"
    assert not second_process


def test_moments_are_those_of_the_values_of_both_processes(second_process):
    values = torch.tensor([[1e4, 1e4 + 1, 1e4 + 2, 1e4 + 5]])
    mine, other, mean = values[:, :3], values[:, 3:], values.mean(1)
    second_process += [torch.tensor(1.0), other.sum(1), (other - mean[:, None]).square().sum(1)]
    for found, expected in zip(moments(mine), (mean, values.var(1, correction=0), 4), strict=True):
        torch.testing.assert_close(found, torch.as_tensor(expected).to(found))


def test_a_single_process_sums_nothing():
    x = torch.ones(2)
    assert all_reduce_sum(x) is x
