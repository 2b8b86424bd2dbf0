"""What the commands print where the terminal, the disk or the directory is not as usual."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import SMALL

from zoo.cli import main

RECORDS = Path(__file__).parents[2] / "results" / "quickstart"


def test_every_table_is_printed_on_a_terminal_of_ascii_alone():
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "compare", str(RECORDS)],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = done.stdout.decode("ascii")
    assert "+-" in printed
    assert "<=" in printed


def test_a_directory_that_cannot_be_made_is_an_error_of_one_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    assert main(["train", "model=made", "data=moons", *SMALL, f"hydra.run.dir={tmp_path}/file"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error == f"zoo: {tmp_path}/file cannot be used: File exists; give another place."
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a directory in which nobody may write")
def test_a_read_only_working_directory_is_an_error_of_one_sentence(monkeypatch, capsys):
    monkeypatch.chdir("/proc/self")
    assert main(["train", "model=made", "data=moons", *SMALL]) == 2
    assert "cannot be used" in capsys.readouterr().err.strip().splitlines()[-1]
