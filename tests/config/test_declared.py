"""The kind of data that each model declares, read without composing its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.config import model_settings, options
from zoo.config.declared import data_kinds, target_of_model

OWN = """
from torch import nn

class Bits(nn.Module):
    data_kind = "binary"

class Odd(nn.Module):
    data_kind = "sounds"
"""


def test_every_shipped_model_declares_a_kind_of_data():
    kinds = data_kinds()
    assert list(kinds) == options("model")
    special = {name: kind for name, kind in kinds.items() if kind != "any"}
    assert special == {
        "bernoulli_mixture": "binary",
        "made_binary": "binary",
        "pixelcnn_pp": "integer images",
    }


@pytest.mark.parametrize("name", ["sngan", "wgan_gp", "glow", "stylegan"])
def test_the_class_is_that_of_the_composed_configuration(name: str):
    assert target_of_model(name) == model_settings(name, {})["_target_"]


def test_models_of_a_users_own_are_among_them_and_broken_ones_are_not(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf/model"
    folder.mkdir(parents=True)
    (tmp_path / "bits_of_mine.py").write_text(OWN)
    (folder / "bits.yaml").write_text("_target_: bits_of_mine.Bits\n")
    (folder / "variant.yaml").write_text("defaults:\n  - bits\n  - _self_\nwidth: 3\n")
    (folder / "odd.yaml").write_text("_target_: bits_of_mine.Odd\n")
    (folder / "gone.yaml").write_text("_target_: bits_of_mine.Gone\n")
    (folder / "circle.yaml").write_text("defaults: [circle]\n")
    (folder / "empty.yaml").write_text("")
    (folder / "broken.yaml").write_text("a: [")
    (folder / "glow.yaml").write_text("_target_: bits_of_mine.Bits\n")
    kinds = data_kinds()
    assert kinds["bits"] == kinds["variant"] == kinds["glow"] == "binary"
    assert not {"odd", "gone", "circle", "empty", "broken"} & set(kinds)
    assert kinds["maf"] == "any"
