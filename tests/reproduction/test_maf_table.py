"""MAF's table 2 on MNIST: what might make row MADE differ from the paper, and the sweep that finds out."""

from __future__ import annotations

import json
import math

import made_start
import pytest
import torch

from zoo.config import compose_run, to_dict
from zoo.data.spec import DataSpec
from zoo.reproduction import load
from zoo.sweep.definition import expand, find_sweep, read_sweep


@pytest.fixture
def model() -> made_start.AuthorsMADE:
    torch.manual_seed(0)
    made = made_start.AuthorsMADE(DataSpec((20,)), hidden=[400, 300], degrees="cyclic", log_scale_bound=None)
    return made.double()


def test_the_authors_weights_start_normal_with_all_inputs_counted(model):
    network = model.transform.layers[-1].network
    layers = [*network.layers, network.output]
    assert [layer.in_features for layer in layers] == [20, 400, 300]
    for layer in layers:
        standardised = layer.weight.detach() * math.sqrt(layer.in_features + 1)
        assert standardised.std() == pytest.approx(1, abs=0.02)
        assert standardised.abs().max() > 3, "normal, not uniform"
        assert not layer.bias.any()
    for layer in network.degrees:
        assert layer.tolist() == sorted(unit % 19 + 1 for unit in range(len(layer)))


def test_the_authors_density_is_that_of_means_and_logarithms_of_precisions(model):
    x = torch.randn(50, 20, dtype=torch.float64)
    mean, log_precision = model.transform.layers[-1].network(x).unbind(-1)
    standard = (0.5 * log_precision).exp() * (x - mean)
    expected = -0.5 * (20 * math.log(2 * math.pi) + (standard.square() - log_precision).sum(1))
    torch.testing.assert_close(model.log_prob(x), expected, rtol=1e-12, atol=1e-12)
    z, _ = model.transform(x)
    torch.testing.assert_close(model.transform.inverse(z)[0], x, rtol=1e-9, atol=1e-9)


def test_the_sweep_changes_one_thing_a_run_in_the_tables_recipe():
    table = to_dict(
        compose_run([f"{k}={v}" for k, v in load("maf_table2_mnist").recipes["made"].overrides.items()])
    )
    spread, authors = (
        to_dict(compose_run(overrides))
        for overrides in expand(read_sweep(find_sweep("papers/made_start")), [])
    )
    assert spread["model"].pop("degrees") == "spread"
    assert authors["model"].pop("_target_") == "made_start.AuthorsMADE"
    assert (authors["training"].pop("eps"), table["training"].pop("eps")) == (1e-4, None)
    del spread["training"]["eps"]
    for config, changed in ((spread, "degrees"), (authors, "_target_")):
        model = {name: value for name, value in table["model"].items() if name != changed}
        assert config["model"] == model
        for part in ("data", "training", "evaluation"):
            assert config[part] == table[part]


def test_the_authors_start_explains_the_difference_and_the_degrees_do_not_as_the_table_says():
    rows = json.loads((made_start.FOLDER / "start.json").read_text(encoding="utf-8"))
    ours = {row["variant"]: row["log_likelihood"] for row in rows if row["seed"] == 0}
    (cell,) = load("maf_table2_mnist").select("MADE/unconditional")
    spread, cyclic = (ours[f"{degrees} degrees, zoo's start"] for degrees in ("spread", "cyclic"))
    assert round(spread - cyclic) == 12
    assert round(spread - cell.value) == -29
    authors = ours["cyclic degrees, the authors' start"]
    assert round(authors - cyclic) == 36
    assert round(authors - cell.value) == -5
    assert abs(authors - cell.value) < load("maf_table2_mnist").columns["unconditional"].margin
