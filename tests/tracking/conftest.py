"""No test of this folder uses an account at W&B."""

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
    """The directory of an undisturbed run."""
    place = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        use_no_account(patch, place)
        run(compose_run(TINY), place / "r")
    return place / "r"
