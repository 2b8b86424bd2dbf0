"""A stranger's table from the command line: trained, sampled in its own units, refused in a sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_runs import SMALL

from zoo.cli import main
from zoo.record import read

RNG = np.random.default_rng(0)
RUN = ["hydra.run.dir=run", "model=made", "data=table"]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"height": RNG.normal(170, 10, 300), "2020": RNG.integers(0, 3, 300)})
    frame.to_csv("people.csv.gz")
    return frame


def test_a_table_comes_back_in_its_own_columns_and_units(table, capsys):
    settings = ["data.path=people.csv.gz", "data.dequantise=[2020]"]
    assert main(["train", *RUN, *SMALL, *settings]) == 0
    errors = capsys.readouterr().err
    assert errors.count("300 rows of 2 columns (height and 2020), named by the first row") == 1
    assert errors.count("unnamed first column") == 1
    details = read("run").provenance.data.details
    assert details["mean"][0] == pytest.approx(170, abs=2)
    assert details["std"][0] == pytest.approx(10, abs=1)
    for run in ("run", "run/checkpoints/last.ckpt"):
        assert main(["sample", run, "-n", "50", "-o", "out/s.csv"]) == 0
        samples = pd.read_csv("out/s.csv")
        assert list(samples.columns) == ["height", "2020"]
        assert len(samples) == 50
        assert 120 < samples["height"].mean() < 220
        assert (samples["2020"] % 1 == 0).all()


def test_a_column_without_density_ends_in_one_sentence_and_code_2(table, capsys):
    assert main(["train", *RUN, *SMALL, "data.path=people.csv.gz"]) == 2
    errors = capsys.readouterr().err
    assert "column '2020' has only 3 distinct values" in errors
    assert "data.dequantise=[2020]" in errors
    assert "Traceback" not in errors


def test_samples_of_a_built_in_density_are_a_table_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ["data.train=100", "data.val=50", "data.test=50"]
    assert main(["train", "hydra.run.dir=run", "model=made", "data=moons", *sizes, *SMALL]) == 0
    assert main(["sample", "run", "-n", "5", "-o", "s.csv"]) == 0
    assert main(["sample", "run", "-n", "5", "-o", "s.npy"]) == 0
    np.testing.assert_allclose(pd.read_csv("s.csv"), np.load("s.npy"), rtol=1e-6)
