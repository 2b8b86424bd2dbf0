"""The wheel works in an empty environment and an empty directory, far from the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["data.train=64", "data.val=16", "data.test=16", "logger=none", "trainer=cpu", "training.updates=2",
         "training.batch_size=8", "training.validations=1", "evaluation.samples=16",
         "evaluation.time_limit_seconds=0.1"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_trains_compares_and_explains_in_an_empty_environment(tmp_path):
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed beside Python; `make setup` installs it")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def call(*command: object) -> str:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    call(uv, "build", "--wheel", "--quiet", "--out-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("genzoo-*.whl")
    call(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    python = tmp_path / "env/bin/python"
    lock = ROOT / "requirements.lock"
    call(uv, "pip", "install", "--quiet", "--python", python, "--constraint", lock, wheel)
    zoo = tmp_path / "env/bin/zoo"
    assert "train" in call(zoo, "--help")
    assert str(tmp_path / "env") in call(python, "-c", "import zoo; print(zoo.__file__)")
    call(zoo, "train", "model=maf", "data=moons", *SMALL)
    call(zoo, "compare", "runs", "-o", "out")
    assert "<html" in (tmp_path / "out/index.html").read_text()
    assert "realnvp" in call(zoo, "sweep", "quickstart", "--dry-run")
    assert "cpu" in call(zoo, "doctor")
    program = (
        "import zoo; print(zoo.build('glow', zoo.DataSpec((1, 8, 8), levels=17)).sample(2, seed=0).shape)"
    )
    assert "[2, 1, 8, 8]" in call(python, "-c", program)


def test_nothing_tells_a_user_to_install_the_package_of_the_same_name():
    """The distribution is genzoo, and not on a registry yet: extras are installed from the clone."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "zoo", "conf", "sweeps", "docs", "*.md", "examples", "Makefile"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    wrong = re.compile(r"install +['\"]?zoo\b|(?<![\w.])zoo\[(search|workspace|cluster|dev|tables)")
    assert not [name for name in listed if wrong.search((ROOT / name).read_text(errors="replace"))]
