"""zoo trains with the lowest and the highest version of Lightning that it accepts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    "tests/running/test_ddp.py",
    "tests/running/test_resume.py",
    "tests/training/test_checkpoints.py",
    "tests/training/test_syncs.py",
]
# of the first and the last file; of the others every test
CHOICE = "signal or averaged or resumed or waits_for_no_value or late or test_resume or test_checkpoints"


def accepted():
    """Return the requirement in ``pyproject.toml``, and the one of its lowest version."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (requirement,) = (line for line in lines if line.startswith("lightning>="))
    lowest = requirement.removeprefix("lightning>=").split(",")[0]
    assert "<" in requirement, "a version that does not exist yet has not been tried"
    return requirement, f"lightning=={lowest}.0"


def test_versions_of_lightning_have_a_lower_and_an_upper_end():
    assert accepted() == ("lightning>=2.5,<2.7", "lightning==2.5.0")


def installers():
    """Yield the commands that can install packages for this Python: its pip, or uv where it has none."""
    if importlib.util.find_spec("pip") is not None:
        yield [sys.executable, "-m", "pip"]
    beside = Path(sys.executable).parent / "uv"
    if (uv := shutil.which(beside) or shutil.which("uv")) is not None:
        yield [uv, "pip"]


def is_run(command):
    """Return whether a command ends without an error."""
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("end", [1, 0], ids=["lowest", "highest"])
def test_training_passes_its_tests_at_both_ends(end, tmp_path):
    requirement = accepted()[end]
    both = [requirement, f"pytorch-{requirement}"]
    where = ["install", "--quiet", "--no-deps", "--target", str(tmp_path / "new")]
    if not any(is_run([*installer, *where, *both]) for installer in installers()):
        pytest.skip("no package index can be reached, or nothing can install")
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
