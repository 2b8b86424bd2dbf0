"""Tests that GPUs evaluate models in float32, not in TF32; ``test_contract.py`` tests the results."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.models.core import model as base
from zoo.models.core.precision import float32_matmul, full_float32

cudnn = torch.backends.cudnn


@pytest.mark.parametrize("tf32", [True, False])
def test_convolutions_are_float32_and_deterministic_within_the_block_alone(tf32):
    cudnn.allow_tf32, before = tf32, cudnn.allow_tf32
    try:
        with full_float32(torch.device("cuda")), full_float32(torch.device("cuda")):
            assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark) == (False, True, False)
        assert (cudnn.allow_tf32, cudnn.deterministic) == (tf32, False)
        with full_float32(torch.device("cpu")):
            assert cudnn.allow_tf32 is tf32
    finally:
        cudnn.allow_tf32 = before


def test_models_use_it_in_evaluation_and_not_in_training(monkeypatch):
    monkeypatch.setattr(base, "full_float32", lambda device: full_float32(torch.device("cuda")))
    model = zoo.build("realnvp", zoo.DataSpec((2,)))
    seen = []
    draw = model.base.sample

    def sample(*arguments):
        seen.append(cudnn.allow_tf32)
        return draw(*arguments)

    model.transform.register_forward_hook(lambda *_: seen.append(cudnn.allow_tf32))
    monkeypatch.setattr(model.base, "sample", sample)
    model.eval().log_prob(torch.zeros(1, 2))
    model.sample(1, seed=0)
    model.train().log_prob(torch.zeros(2, 2))
    assert seen == [False, False, True]


def test_products_are_float32_within_the_block_alone():
    with float32_matmul("high"):
        with full_float32(torch.device("cuda")):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "highest"
