"""The trainer of a run."""

import pytest
import torch
from small_runs import SMALL

from zoo.cli import main
from zoo.errors import ZooError
from zoo.running.fit import make_trainer


def test_what_lightning_refuses_is_one_sentence_with_its_reason():
    settings = {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": -3}
    with pytest.raises(
        ZooError, match=r"^The trainer cannot be set up \(.+\); change the setting of trainer"
    ) as error:
        make_trainer(settings)
    assert "InstantiationException" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that is in use is counted once")
def test_a_step_on_a_cpu_does_not_ask_the_driver_for_gpus(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: asked.append(None) or 0)  # what NVML is asked by

    def during(updates):
        before = len(asked)
        more = [f"training.updates={updates}", f"hydra.run.dir={tmp_path / str(updates)}"]
        assert main(["train", "model=realnvp", "data=moons", *SMALL, *more]) == 0
        return len(asked) - before

    assert during(12) == during(4)
