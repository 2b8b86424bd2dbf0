"""The W&B workspace as it would be sent; nothing is sent."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from zoo.cli import main
from zoo.record import AXES
from zoo.tracking.workspace import COSTS, PICTURES, QUALITIES, build, specification


@pytest.fixture(autouse=True)
def _no_account(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def panels(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    sections = spec["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


def test_the_workspace_has_the_panels_of_each_section():
    spec = specification(build("mine", "me"))
    assert (spec["project"], spec["entity"], spec["displayName"]) == ("mine", "me", "zoo")
    slide, families, pareto, pictures, curves = panels(spec).values()
    assert [p["viewType"] for p in slide] == ["Weave"]
    assert [p["config"]["metrics"] for p in families] == [[name] for name in (*QUALITIES, *COSTS)]
    assert {p["viewType"] for p in pareto} == {"Scatter Plot"}
    pairs = {(p["config"]["xAxis"], p["config"]["yAxis"]) for p in pareto}
    assert pairs == {(f"summary:{cost}", f"summary:{quality}") for quality in QUALITIES for cost in COSTS}
    assert all(p["config"]["showMinYAxisLine"] for p in pareto), "the front: both are better when lower"
    assert [p["config"]["mediaKeys"] for p in pictures] == [[name] for name in PICTURES]
    axes = {p["config"]["xAxis"] for p in curves}
    assert axes == set(AXES), "never W&B's own step"
    settings = spec["spec"]["section"]["settings"]
    assert settings["xAxis"] == "updates"
    for section in spec["spec"]["section"]["panelBankConfig"]["sections"]:
        assert section["localPanelSettings"]["xAxis"] == "updates"
    (runs,) = spec["spec"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == [
        "family.value",
        "choices.value.model",
        "config_hash_without_seed.value",
    ]


def test_a_dry_run_shows_the_specification_and_sending_needs_a_login(workdir, capsys):
    assert main(["workspace", "mine", "--dry-run", "-o", "spec.json", "--quality", "fid"]) == 0
    assert capsys.readouterr().out == "spec.json\n"
    spec = json.loads((workdir / "spec.json").read_text())
    assert len(panels(spec)["Pareto: cost against quality"]) == len(COSTS)
    assert main(["workspace", "mine", "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["project"] == "mine"
    assert main(["workspace", "mine"]) == 2
    assert "not logged in to W&B" in capsys.readouterr().err


def test_without_the_extra_the_error_has_the_command_that_installs_it(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("wandb_workspaces")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["workspace", "mine", "--dry-run"]) == 2
    assert "pip install '.[workspace]'" in capsys.readouterr().err
