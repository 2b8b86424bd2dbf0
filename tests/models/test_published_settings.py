"""Published sizes have the settings that their papers state, typed here a second time from the papers.

A number of parameters does not see a dropout, an activation, a margin or an order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo.config.compose import merged

GROUP = Path(__file__).resolve().parents[2] / "conf" / "model"
TABLES = ("power", "gas", "hepmass", "miniboone", "bsds300")


def settings(name: str) -> dict[str, Any]:
    """A model's YAML over those it begins with."""
    own = yaml.safe_load((GROUP / f"{name}.yaml").read_text())
    found: dict[str, Any] = {}
    for default in own.pop("defaults", []):
        if default == "_self_":
            found = merged(found, own)
        elif isinstance(default, str):
            found = merged(found, settings(default.removeprefix("/model/").partition("@")[0]))
    return merged(found, own)


CIFAR = {"pixels": {"alpha": 0.05}, "degrees": "random"}


def stated() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    # Papamakarios et al. 2017, appendices B, D: tanh on GAS, else relu; alpha 1e-6 (MNIST), 0.05 (CIFAR);
    # inputs in sequence, reversed from layer to layer; hidden degrees drawn on CIFAR-10, else in sequence
    for data in (*TABLES, "mnist", "cifar10"):
        width = {"power": 100, "gas": 100, "mnist": 1024, "cifar10": 1024}.get(data, 512)
        for model in ("made", "made_mog", "maf5", "maf10", "maf_mog"):
            layered = model.startswith("maf")
            row = {"activation": "tanh" if data == "gas" else "relu", "log_scale_bound": None}
            row |= {"order": "reversed" if layered else "natural", "hidden": [width] * 2}
            row |= {"batch_norm": True, "layers": 10 if model == "maf10" else 5} if layered else {}
            row |= {"components": 10} if model.endswith("mog") else {}
            row |= {"mnist": {"pixels": {"alpha": 1e-6}}, "cifar10": CIFAR}.get(data, {})
            found[f"{model}_{data}"] = row
    # Durkan et al. 2019, table 5: 10 steps, 8 bins on [-3, 3]
    rows = {
        "blocks": (2, 2, 1, 1, 1),
        "hidden": (256, 256, 128, 32, 128),
        "dropout": (0.0, 0.1, 0.2, 0.2, 0.2),
    }
    for index, data in enumerate(TABLES):
        found[f"nsf_coupling_{data}"] = {"steps": 10, "bins": 8, "bound": 3.0}
        found[f"nsf_coupling_{data}"] |= {key: values[index] for key, values in rows.items()}
        found[f"nsf_autoregressive_{data}"] = {"steps": 10, "bins": 8, "bound": 3.0}
    # the same, image configurations of bayesiains/nsf
    image = {"steps": 7, "width": 96, "blocks": 3, "bound": 3.0}
    image |= {"pixels": {"preprocessing": "centre"}}
    found["nsf_coupling_cifar10"] = image | {"levels": 3, "bins": 4, "dropout": 0.2, "multi_scale": False}
    found["nsf_coupling_imagenet64"] = image | {"levels": 4, "bins": 8, "dropout": 0.0, "multi_scale": True}
    # Dinh et al. 2017, section 4.1
    found["realnvp_cifar10"] = {"pixels": {"alpha": 0.05}}
    # Chen et al. 2019, appendix E and its code
    for data in ("mnist", "cifar10"):
        found[f"residual_flow_{data}"] = {
            "spectral": {"coefficient": 0.98, "iterations": 2, "train_tolerance": 1e-3},
            "activation": "lipswish",
            "series": {
                "estimator": "roulette", "gradient": "neumann", "terms": 2, "eval_terms": 20,
                "count": "poisson", "exact_dim": 2, "eval_exact_dim": 64,
            },
        }  # fmt: skip
    # Grathwohl et al. 2019, table 4
    for data, (act, layers, flows) in {
        "power": ("tanh", 3, 5), "gas": ("tanh", 3, 5), "hepmass": ("softplus", 2, 10),
        "miniboone": ("softplus", 2, 1), "bsds300": ("softplus", 3, 2),
    }.items():  # fmt: skip
        found[f"ffjord_{data}"] = {"activation": act, "flows": flows}
        dim = {"power": 6, "gas": 8, "hepmass": 21, "miniboone": 43, "bsds300": 63}[data]
        found[f"ffjord_{data}"]["hidden"] = [dim * (10 if data in ("power", "hepmass") else 20)] * layers
    return {name: row for name, row in found.items() if (GROUP / f"published/{name}.yaml").exists()}


@pytest.mark.parametrize(("name", "paper"), stated().items())
def test_published_settings(name: str, paper: dict[str, Any]) -> None:
    here = settings(f"published/{name}")
    assert {key: chosen(here.get(key), value) for key, value in paper.items()} == paper


def chosen(value: Any, like: Any) -> Any:
    """The part of a node that has the keys of another."""
    return {key: value.get(key) for key in like} if isinstance(like, dict) else value


def test_most_published_densities_are_among_them() -> None:
    assert len(stated()) >= 50
