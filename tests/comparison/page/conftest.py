"""A browser and a page of invented runs, each made once for all tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, Tab, executable
from invented import built, ledger, records


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of the invented runs."""
    folder = tmp_path_factory.mktemp("page")
    file = folder / "index.html"
    file.write_text(built(records(folder / "runs")), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of the invented runs with a verdict on every claim of the registry and on two more."""
    folder = tmp_path_factory.mktemp("judged")
    file = folder / "index.html"
    file.write_text(built(records(folder / "runs"), ledger()), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a running Chromium; the test is skipped where there is none."""
    if executable() is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with Browser() as running:
        yield running


@pytest.fixture
def tab(browser: Browser, page: Path) -> Iterator[Tab]:
    """Return the page in a tab of its own, 1400 pixels wide; it must not have complained at the end."""
    opened = browser.open(page)
    yield opened
    assert opened.complaints == []
    opened.close()
