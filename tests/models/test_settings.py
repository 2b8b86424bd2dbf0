"""A wrong setting of a flow ends in one sentence that names it."""

from __future__ import annotations

import pytest

import zoo
from zoo.config import model_settings

IMAGE = zoo.DataSpec((1, 4, 4), levels=4)
VECTOR = zoo.DataSpec((3,))
FLOWS = (
    "ffjord", "glow", "iaf", "iresnet", "made", "made_mog", "maf", "maf_mog", "nsf_autoregressive",
    "nsf_coupling", "realnvp", "residual_flow", "tarflow",
)  # fmt: skip
WRONG = {
    "preprocessing": ["linear"],
    "alpha": [0.5, -0.1],
    "dropout": [1.0, -0.1],
    "label_dropout": [1.0],
    "width": [0],
    "hidden": [[0], [16, -1]],
    "channels": [[0]],
    "blocks": [-1],
    "dense_blocks": [-1],
    "layers": [0],
    "levels": [0],
    "scales": [0],
    "flows": [0],
    "steps": [0],
    "patch": [0],
    "head_width": [0],
    "components": [0],
    "bins": [0],
    "terms": [0],
    "eval_terms": [0],
    "tolerance": [0.0, -1e-3],
    "train_tolerance": [0.0],
    "atol": [0.0],
    "kinetic": [-1.0],
    "log_scale_bound": [0.0, -2.0],
    "bound": [0.0, -1.0],
}
SETTINGS = {name: model_settings(name, {}) for name in FLOWS}
CASES = [
    (name, setting, [0] if setting == "hidden" and name.startswith("nsf") else values)  # one width there
    for name in FLOWS
    for setting, values in WRONG.items()
    if setting in SETTINGS[name]
]


@pytest.mark.parametrize(("name", "setting", "values"), CASES)
def test_a_wrong_setting_is_named(name, setting, values):
    for spec in (IMAGE, VECTOR):
        for value in values:
            with pytest.raises(zoo.ZooError, match=setting):
                zoo.build(name, spec, **{setting: value})
