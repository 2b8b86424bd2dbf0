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


def flags():
    """Return torch's settings of float32 on a GPU, for matrix products, convolutions and recurrent cells."""
    assert (torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32) in {(True, True), (False, False)}
    backends = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    return torch.get_float32_matmul_precision(), *(each.fp32_precision == "tf32" for each in backends)


def test_one_setting_decides_for_matrices_and_convolutions_and_evaluation_is_full_in_either():
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    for precision, tf32 in (("highest", False), ("high", True)):
        with float32_matmul(precision):
            assert flags() == (precision, tf32, tf32, tf32)
            with full_float32(torch.device("cuda")):
                assert flags() == ("highest", False, False, False)
            assert flags() == (precision, tf32, tf32, tf32)
            with pytest.raises(ValueError, match="training fails"), float32_matmul("high"):
                raise ValueError("training fails")
            assert flags() == (precision, tf32, tf32, tf32)
    assert (torch.get_float32_matmul_precision(), cudnn.allow_tf32) == before == ("highest", True)
