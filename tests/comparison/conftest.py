"""Runs that many tests of the comparison start from."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_records import write


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a directory with one run of each of six models, whose likelihoods are of every kind."""
    root = tmp_path / "runs"
    uniform = {"dequantisation": "uniform"}
    write(root, "realnvp", "flow", value=1.9, details=uniform)
    write(root, "glow", "flow", value=1.8, details=uniform)
    write(root, "pixelcnn", "autoregressive", value=1.4)
    write(root, "vae", "vae", "lower bound", value=1.2)
    write(root, "ffjord", "continuous flow", "estimate", value=1.1)
    write(root, "gan", "gan", "none", value=None, fd=1.0)
    return root


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the tables of a comparison without its figures and its page, which take a second."""
    monkeypatch.setattr("zoo.comparison.figures.draw", lambda *_: {})
    monkeypatch.setattr("zoo.comparison.page.build", lambda *_, **__: "")
