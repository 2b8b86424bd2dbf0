"""The workflows on GitHub call targets of the Makefile alone, and between them all that must pass."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_workflows_run_targets_of_the_makefile_the_slow_tests_every_night():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    files = sorted((ROOT / ".github/workflows").glob("*.yml"))
    commands = {
        file.stem: [
            step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
        ]
        for file in files
        if (workflow := yaml.safe_load(file.read_text()))
    }
    assert all(command.removeprefix("make ") in targets for run in commands.values() for command in run)
    assert set(commands["ci"]) == {"make test", "make docs", "make quickstart"}
    assert commands["nightly"] == ["make test-slow"]
    assert "schedule:" in (ROOT / ".github/workflows/nightly.yml").read_text()


def test_no_page_tells_to_install_the_other_project_that_is_called_zoo():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 20
    assert [page.name for page in pages if re.search(r"pip install zoo\b", page.read_text())] == []
