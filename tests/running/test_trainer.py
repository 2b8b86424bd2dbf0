"""The trainer of a run."""

import pytest

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
