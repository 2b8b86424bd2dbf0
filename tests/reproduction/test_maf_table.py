"""MAF's table 2 on MNIST: the recipes' networks, and which settings change the log-likelihood of MADE."""

from __future__ import annotations

import json
import math

import made_start
import pytest
import torch

from zoo.comparison.collect import collect
from zoo.config import compose_run, to_dict
from zoo.data.spec import DataSpec
from zoo.factory import instantiate
from zoo.reproduction import load
from zoo.sweep.definition import expand, find_sweep, read_sweep

MODELS = ["made", "made_mog", "maf5", "maf_mog"]


def recipe(name: str) -> dict:
    """Return the settings with which a recipe of the table trains."""
    overrides = load("maf_table2_mnist").recipes[name].overrides
    return to_dict(compose_run([f"{key}={value}" for key, value in overrides.items()]))


@pytest.mark.parametrize("name", [name + column for name in MODELS for column in ("", "_conditional")])
def test_the_recipes_have_the_authors_networks(name):
    config = recipe(name)
    model = config["model"]
    assert (model["degrees"], model["start"], model["scale"]) == ("cyclic", "normal", "log_precision")
    assert (model["hidden"], model["activation"], model["log_scale_bound"]) == ([1024, 1024], "relu", None)
    assert config["training"]["eps"] == 1e-4
    assert config["training"]["lr"] == (1e-3 if name.startswith("made") else 1e-4)


def test_the_density_is_that_of_means_and_logarithms_of_precisions():
    model = recipe("made")["model"] | {"hidden": [40, 30]}
    torch.manual_seed(0)
    made = instantiate(model, DataSpec((20,))).double()
    x = torch.randn(50, 20, dtype=torch.float64)
    mean, log_precision = made.transform.layers[-1].network(x).unbind(-1)
    standard = (0.5 * log_precision).exp() * (x - mean)
    expected = -0.5 * (20 * math.log(2 * math.pi) + (standard.square() - log_precision).sum(1))
    torch.testing.assert_close(made.log_prob(x), expected, rtol=1e-12, atol=1e-12)
    z, _ = made.transform(x)
    torch.testing.assert_close(made.transform.inverse(z)[0], x, rtol=1e-9, atol=1e-9)


def test_the_sweep_changes_one_thing_a_run_in_the_tables_recipe():
    table = recipe("made")
    runs = [to_dict(compose_run(line)) for line in expand(read_sweep(find_sweep("papers/made_start")), [])]
    changes = []
    for run in runs:
        assert run["data"] == table["data"]
        assert run["evaluation"] == table["evaluation"]
        assert run["model"].keys() == table["model"].keys()
        parts = [(part, key) for part in ("model", "training") for key in table[part]]
        changes.append({key: run[part][key] for part, key in parts if run[part][key] != table[part][key]})
    start, scale, eps = {"start": "he"}, {"scale": "log_deviation"}, {"eps": None}
    of_zoo = start | scale | eps
    assert changes == [start, scale, eps, of_zoo, of_zoo | {"degrees": "spread"}]


def test_the_start_and_the_outputs_explain_the_difference_as_the_table_says():
    rows = json.loads((made_start.FOLDER / "start.json").read_text(encoding="utf-8"))
    assert rows == made_start.compared(collect([made_start.FOLDER / "start.tar.xz"])[0])
    assert made_start.markdown(rows) == (made_start.FOLDER / "start.md").read_text(encoding="utf-8")
    ours = {(row["degrees"], row["start"], row["scale"], row["eps"]): row["log_likelihood"] for row in rows}
    assert len(ours) == len(rows) == 6
    authors = ours["cyclic", "normal", "log_precision", 1e-4]
    first = ours["cyclic", "he", "log_deviation", 1e-8]
    assert round(authors - ours["cyclic", "he", "log_precision", 1e-4]) == 17
    assert round(authors - ours["cyclic", "normal", "log_deviation", 1e-4]) == 4
    assert round(authors - ours["cyclic", "normal", "log_precision", 1e-8]) == -3
    assert round(authors - first) == 35
    spread = ours["spread", "he", "log_deviation", 1e-8]
    assert round(spread - first) == 12
    (cell,) = load("maf_table2_mnist").select("MADE/unconditional")
    assert round(spread - cell.value) == -29
    assert abs(authors - cell.value) < load("maf_table2_mnist").columns["unconditional"].margin
