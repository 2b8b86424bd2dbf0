"""``zoo sample`` of a user's own model that derives from ``torch.nn.Module`` alone."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest
import torch
import yaml

from zoo.cli import main
from zoo.config.code import own_code
from zoo.data.spec import DataSpec

SOURCE = """
import torch
class MyFlow(torch.nn.Module):
    family, likelihood = "flow", "exact"
    def __init__(self, spec):
        super().__init__()
        self.dim, self.mean = spec.dim, torch.nn.Parameter(torch.zeros(spec.dim))
    def log_prob(self, x): return torch.distributions.Normal(self.mean, 1).log_prob(x).sum(1)
    def sample(self, n): return self.mean + torch.randn(n, self.dim)
"""


@pytest.fixture
def module(workdir, monkeypatch):
    """Return the file of an own model, of which ``run`` holds a checkpoint."""
    monkeypatch.syspath_prepend(str(workdir))
    file = workdir / "module_of_my_flow.py"
    file.write_text(SOURCE)
    settings = {"_target_": "module_of_my_flow.MyFlow"}
    about = {"spec": dataclasses.asdict(DataSpec((2,))), "model": settings, "weights": "raw"}
    (workdir / "run/checkpoints").mkdir(parents=True)
    state = {"model.mean": torch.full((2,), 100.0)}
    torch.save({"zoo": about, "state_dict": state}, workdir / "run/checkpoints/best.ckpt")
    importlib.invalidate_caches()
    config = {"model": settings}
    (workdir / "run/config.yaml").write_text(yaml.safe_dump(config | {"code": own_code(config)}))
    return file


def test_a_model_without_spec_and_seed_is_sampled(module, capsys):
    for name in ("a", "b"):
        assert main(["sample", "run", "-n", "300", "--seed", "3", "-o", f"{name}.npy"]) == 0
    assert main(["sample", "run", "-n", "300", "-o", "c.npy"]) == 0
    first, same, another = (np.load(f"{name}.npy") for name in "abc")
    assert first.shape == (300, 2)
    assert abs(first.mean() - 100) < 0.5
    assert np.array_equal(first, same)
    assert not np.array_equal(first, another)


def test_what_cannot_be_sampled_is_one_sentence(module, capsys):
    assert main(["sample", "run", "--temperature", "0.5", "-o", "s.npy"]) == 2
    assert "takes no temperature" in capsys.readouterr().err
    module.write_text(SOURCE.replace("randn", "rand"))
    assert main(["sample", "run", "-o", "s.npy"]) == 2
    assert (
        "The code of module_of_my_flow has changed since the run in run was trained"
        in capsys.readouterr().err
    )
