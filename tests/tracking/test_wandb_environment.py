"""W&B's variables are honoured: settings win over them, and they win over what zoo derives."""

from __future__ import annotations

import pytest
from offline_wandb import begin, of_kind, written

from zoo.errors import ZooError
from zoo.tracking.logger import check_logger, suspend
from zoo.tracking.login import wandb_mode
from zoo.tracking.sync import segments

ENVIRONMENT = {
    "WANDB_PROJECT": "theirs",
    "WANDB_ENTITY": "team",
    "WANDB_NAME": "a name",
    "WANDB_RUN_GROUP": "group one",
    "WANDB_JOB_TYPE": "probe",
    "WANDB_TAGS": "first,second",
    "WANDB_NOTES": "A note.",
}


def begun(directory, **settings):
    suspend(begin([], directory, **{"project": None} | settings), 0)
    return of_kind(written(directory), "run")[0]


def test_a_run_without_variables_has_what_zoo_derives(workdir):
    run = begun(workdir, group="sweep")
    assert (run["project"], run["run_group"], run["job_type"]) == ("zoo", "sweep", "realnvp-digits")
    assert run["display_name"].startswith("realnvp-digits-s0-")


def test_variables_win_over_what_zoo_derives_and_settings_over_variables(workdir, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    run = begun(workdir / "a", group="sweep")
    assert (run["project"], run["entity"], run["display_name"]) == ("theirs", "team", "a name")
    assert (run["run_group"], run["job_type"], run["notes"]) == ("group one", "probe", "A note.")
    assert {"first", "second", "realnvp", "digits"} <= set(run["tags"])
    run = begun(workdir / "b", project="mine", entity="me")
    assert (run["project"], run["entity"]) == ("mine", "me")


def test_an_empty_variable_is_none(workdir, monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")
    assert begun(workdir)["project"] == "zoo"


def test_the_files_of_wandb_go_where_its_variable_says(workdir, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(workdir / "elsewhere"))
    suspend(begin([], workdir / "run"), 0)
    assert not (workdir / "run").exists()
    assert len(list(segments(workdir / "elsewhere"))) == 1


@pytest.mark.parametrize(
    "variables", [{"WANDB_MODE": "disabled"}, {"WANDB_DISABLED": "true"}, {"WANDB_DISABLED": "1"}]
)
def test_wandb_can_be_disabled(workdir, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert begin([], workdir) == []
    assert not list(workdir.iterdir())


def test_older_names_of_modes_are_known_and_others_refused_before_training(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert wandb_mode() == "offline"
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(ZooError, match="must be online, offline, shared or disabled; got 'ofline'"):
        check_logger({"name": "wandb"})
    check_logger({"name": "none"})
