"""Only precisions whose numbers are right are taken; the others are refused before training."""

from __future__ import annotations

import pytest
import torch

from zoo.config import compose_run, identify, to_dict
from zoo.errors import ZooError
from zoo.evaluation import protocol
from zoo.models.core import model
from zoo.models.core.precision import full_float32
from zoo.models.networks.made import MADE
from zoo.record import RECORD
from zoo.running.fit import PRECISIONS, check_precision
from zoo.running.run import run

TINY = """
    model=maf data=moons logger=none trainer=cpu training.updates=2 training.batch_size=8 model.layers=1
    model.hidden=[4] training.validations=1 evaluation.samples=8 evaluation.time_limit_seconds=0.01
    evaluation.likelihood_examples=8 evaluation.throughput_batches=[2]
"""


@pytest.mark.parametrize(
    "precision",
    [
        "16-mixed",
        "16-true",
        "bf16-true",
        "64-true",
        "16",
        "bf16",
        "transformer-engine",
        "transformer-engine-float16",
    ],
)
def test_a_precision_with_wrong_numbers_is_refused_before_training(precision, tmp_path):
    with pytest.raises(ZooError, match=f"32-true or bf16-mixed; got {precision}"):
        run(compose_run([*TINY.split(), f"trainer.precision={precision}"]), tmp_path)
    assert not (tmp_path / RECORD).exists()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_that_trains_as_it_should_is_taken(precision):
    check_precision(to_dict(compose_run(["trainer=gpu", f"trainer.precision={precision}"]).trainer))


def test_tf32_makes_another_run_and_is_recorded(tmp_path):
    plain, tf32 = (compose_run([*TINY.split(), *more]) for more in ([], ["trainer.float32_matmul=high"]))
    assert "float32_matmul" not in identify(plain).config["trainer"], "the hashes of earlier records stay"
    assert identify(plain).config_hash != identify(tf32).config_hash
    assert run(tf32, tmp_path).provenance.config["trainer"]["float32_matmul"] == "high"
    with pytest.raises(ZooError, match="float32_matmul must be highest or high; got 'tf32'"):
        run(compose_run([*TINY.split(), "trainer.float32_matmul=tf32"]), tmp_path / "other")


@pytest.mark.parametrize(("precision", "tf32"), [("highest", False), ("high", True)])
def test_one_setting_decides_for_matrices_and_convolutions_in_training_alone(
    precision, tf32, tmp_path, monkeypatch
):
    seen = {"training": set(), "evaluation": set()}

    def flags():
        conv = torch.backends.cudnn.conv.fp32_precision == "tf32"
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, conv

    before = flags()
    for module in (model, protocol):  # as on a GPU: the flags can be set and read without one
        monkeypatch.setattr(module, "full_float32", lambda device: full_float32(torch.device("cuda")))
    forward = MADE.forward

    def noting(self, *arguments, **more):
        seen["training" if self.training else "evaluation"].add(flags())
        return forward(self, *arguments, **more)

    monkeypatch.setattr(MADE, "forward", noting)
    # without batch normalisation, whose statistics are collected in evaluation mode as a part of training
    settings = ["model.batch_norm=false", f"trainer.float32_matmul={precision}"]
    run(compose_run([*TINY.split(), *settings]), tmp_path)
    assert seen == {"training": {(precision, tf32, tf32)}, "evaluation": {("highest", False, False)}}
    assert flags() == before
