"""Many offline runs are uploaded by several calls of ``wandb sync`` at a time."""

from __future__ import annotations

import sys
import threading

import pytest

from zoo.errors import ZooError
from zoo.tracking import sync

# A fake ``wandb sync``: it marks the segments, unless the rate limit of the fake server refuses them.
FAKE = """
import os, pathlib, sys
place = pathlib.Path(os.environ["PLACE"])
files = [pathlib.Path(name) for name in sys.argv[1:]]
(place / f"call-{os.getpid()}").write_text("\\n".join(map(str, files)))
if (place / "limited").exists():
    sys.exit("wandb: ERROR api: retrying HTTP 429 Too Many Requests")
for file in files:
    file.with_name(file.name + ".synced").touch()
"""


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Return a folder with 20 runs of two segments each, whose uploads go to the fake."""
    for run in range(20):
        for start in (1, 2):
            folder = (
                tmp_path / "runs" / f"r{run:02d}" / "wandb" / f"offline-run-2026010{start}_000000-r{run:02d}"
            )
            folder.mkdir(parents=True)
            (folder / f"run-r{run:02d}.wandb").touch()
    (tmp_path / "fake.py").write_text(FAKE)
    real = sync.subprocess.Popen

    def fake(command, **settings):
        return real([sys.executable, "-S", str(tmp_path / "fake.py"), *command[4:]], **settings)

    monkeypatch.setattr(sync.subprocess, "Popen", fake)
    monkeypatch.setattr(sync, "logged_in", lambda: True)
    monkeypatch.setenv("PLACE", str(tmp_path))
    return tmp_path


def test_runs_are_uploaded_side_by_side_and_each_in_its_order(runs):
    assert sync.sync_runs([runs / "runs"]) == 0
    calls = [file.read_text().splitlines() for file in runs.glob("call-*")]
    assert len(calls) > 4
    for call in calls:
        assert call == sorted(call), "the earlier segment of a run first"
        assert len(call) == 2 * len({name.split("/wandb/")[0] for name in call}), "whole runs"
    assert sum(map(len, calls)) == 40


def test_what_a_rate_limit_refuses_is_tried_again_by_fewer_calls(runs, monkeypatch):
    waits: list[float] = []
    begun = threading.Event()

    def sleep(seconds):
        waits.append(seconds)
        if seconds and not begun.is_set():
            begun.set()
            (runs / "limited").unlink()

    (runs / "limited").touch()
    monkeypatch.setattr(sync.time, "sleep", sleep)
    assert sync.sync_runs([runs / "runs"]) == 0
    assert waits == [0.0, 60.0]
    (runs / "limited").touch()
    for mark in runs.glob("runs/**/*.synced"):
        mark.unlink()
    monkeypatch.setattr(sync.time, "sleep", waits.append)
    with pytest.raises(ZooError, match="40 segments of 20 runs could not be uploaded"):
        sync.sync_runs([runs / "runs"])
    assert waits[2:] == [0.0, 60.0, 180.0]
