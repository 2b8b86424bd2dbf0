"""Settings in a record are of any type: what reads them looks at the type first."""

from __future__ import annotations

import pytest
from simulated_runs import GAN, around, gan, judged, simulate

from zoo.comparison.claims import decide
from zoo.comparison.tables import build

READ = (  # settings that tables and claims read
    "training.lr", "training.betas", "training.ema", "training.r1", "training.augment",
    "training.max_seconds", "model.critic_norm", "model.truncation", "model.hidden", "model.channels",
    "data", "training", "model",
)  # fmt: skip


@pytest.mark.parametrize("setting", READ)
def test_a_setting_of_any_type_is_read_by_tables_and_claims(setting):
    part, _, name = setting.partition(".")
    for value in (None, "text", [], ["a"], [[1]], {}, 0, -1.5, 10**400, True):
        runs = [
            *gan(distance=around(2.0), latency=0.1, parameters=100),
            *gan({"training.ema": 0.0}, distance=around(1.0)),
            *simulate("ffjord", "continuous flow", settings=GAN | {"training.max_seconds": 40}, bits=2.0,
                      distance=around(1.5), parameters=100, latency=0.1, updates=10),
            *simulate("ffjord", "continuous flow", settings=GAN | {"model.hidden": [4]}, parameters=90),
        ]  # fmt: skip
        for run in runs[::2] if value != 0 else runs:
            config = run.record.provenance.config
            if name:
                config.setdefault(part, {})[name] = value
            else:
                config[part] = value
        build(runs)
        decide(runs)


def test_betas_without_a_number_are_no_momentum():
    runs = [*gan(distance=around(2.0)), *gan({"training.betas": ["0.5", 0.99]}, distance=around(1.0))]
    assert not judged("momentum-off", runs).deciding
