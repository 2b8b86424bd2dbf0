"""zoo trains with the lowest and the highest version of Lightning that it accepts."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = ["tests/running/test_ddp.py", "tests/training/test_syncs.py"]
CHOICE = "signal or averaged or resumed or waits or late"


def accepted():
    """Return the requirement in ``pyproject.toml``, and the one of its lowest version."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (requirement,) = (line for line in lines if line.startswith("lightning>="))
    lowest = requirement.removeprefix("lightning>=").split(",")[0]
    assert "<" in requirement, "a version that does not exist yet has not been tried"
    return requirement, f"lightning=={lowest}.0"


def test_versions_of_lightning_have_a_lower_and_an_upper_end():
    assert accepted() == ("lightning>=2.5,<2.7", "lightning==2.5.0")


@pytest.mark.slow
@pytest.mark.parametrize("end", [1, 0], ids=["lowest", "highest"])
def test_training_passes_its_tests_at_both_ends(end, tmp_path):
    requirement = accepted()[end]
    both = [requirement, f"pytorch-{requirement}"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "new")]
    if subprocess.run([*pip, *both], check=False, capture_output=True).returncode:
        pytest.skip("no package index can be reached")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "new"), str(ROOT)])}
    where = "import lightning; print(lightning.__file__)"
    place = subprocess.run(
        [sys.executable, "-c", where], env=environment, check=True, capture_output=True, text=True
    )
    assert str(tmp_path) in place.stdout
    tests = [sys.executable, "-m", "pytest", "-q", "-n", "0", f"--basetemp={tmp_path / 'tests'}", *TESTS]
    answer = subprocess.run(
        [*tests, "-k", CHOICE], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout[-3000:]
