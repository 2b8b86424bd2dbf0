"""A folder of few pictures of one's own has every column by default."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from small_runs import SMALL

from zoo.cli import main
from zoo.record import read


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "own").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"own/{i:02}.png")
    return tmp_path / "own"


def test_forty_pictures_have_every_metric_and_say_what_they_are_compared_with(folder, tmp_path, capsys):
    run = tmp_path / "run"
    arguments = ["data=images", f"data.path={folder}", f"hydra.run.dir={run}"]
    assert main(["train", "model=made", *arguments, *SMALL]) == 0
    said = capsys.readouterr().err
    assert "The test split has 4 images" in said
    assert "the 36 training and validation images (fd/random-conv-16/train and so on)" in said
    assert "No Fréchet distance" not in said
    record = read(run)
    assert not [name for name, metric in record.metrics.items() if metric.value is None]
    distance = record.metrics["fd/random-conv-16/train"]
    assert (distance.split, distance.details["reference_n"]) == ("train", 36)
