"""Fixtures of W&B's tests, none of which uses an account."""

from __future__ import annotations

import pytest
from offline_wandb import TINY, use_no_account

from zoo.config import compose_run
from zoo.running.run import run


@pytest.fixture(autouse=True)
def _no_account(monkeypatch, tmp_path):
    use_no_account(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return the directory of a finished run."""
    place = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        use_no_account(patch, place)
        run(compose_run(TINY), place / "r")
    return place / "r"
