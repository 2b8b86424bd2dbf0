"""The notebooks run from top to bottom in an empty directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_the_documentation_has_notebooks():
    assert [notebook.stem for notebook in NOTEBOOKS] == ["first_steps", "your_own"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_every_cell_of_a_notebook_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    shutil.copy(notebook, tmp_path)
    content = nbformat.read(tmp_path / notebook.name, as_version=4)
    client = NotebookClient(content, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    printed = "".join(out.get("text", "") for cell in content.cells for out in cell.get("outputs", []))
    expected = {"first_steps": ("bits/dim (exact)", "bits/dim (lower bound)", "index.html"),
                "your_own": ("mine", "nats (exact)")}[notebook.stem]  # fmt: skip
    for words in expected:
        assert words in printed
