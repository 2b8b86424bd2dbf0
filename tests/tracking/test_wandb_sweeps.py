"""The sweeps for W&B's agents: their proposals are valid runs, and their metric is logged."""

from __future__ import annotations

import shlex
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from zoo.cli.parser import make_parser
from zoo.config import compose_run, identify, options, shipped
from zoo.sweep.plan import find_sweep
from zoo.tracking.logger import PROJECT
from zoo.tracking.names import BEST_LOSS

FILES = sorted(shipped("sweeps").glob("wandb/*.yaml"))
KEYS = {"name", "project", "program", "method", "metric", "parameters", "command", "run_cap", "description"}
# keys of a distribution, from W&B's page on sweep configurations
DISTRIBUTIONS: dict[str, set[str]] = {
    "uniform": {"min", "max"},
    "int_uniform": {"min", "max"},
    "log_uniform_values": {"min", "max"},
    "q_uniform": {"min", "max", "q"},
    "q_log_uniform_values": {"min", "max", "q"},
}


def extremes(parameter: dict[str, Any]) -> list[Any]:
    """Return every choice of a parameter, or both ends of its range."""
    if "value" in parameter:
        return [parameter["value"]]
    return list(parameter.get("values") or (parameter["min"], parameter["max"]))


def command_of(sweep: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """Return the command that an agent would run, as wandb's own code builds it."""
    parts = create_sweep_command_args({"args": {name: {"value": v} for name, v in values.items()}})
    words: list[str] = []
    for word in create_sweep_command(list(sweep["command"])):
        words += parts[word[2:-1]] if word.startswith("${") else [word]
    return words


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def sweep(request) -> dict[str, Any]:
    return yaml.safe_load(request.param.read_text())


def test_the_shipped_sweeps_are_a_search_and_a_grid():
    assert {yaml.safe_load(file.read_text())["method"] for file in FILES} == {"bayes", "grid"}
    assert find_sweep("families").parent == shipped("sweeps"), "zoo's own sweep of that name is another file"


def test_a_sweep_has_only_keys_that_wandb_knows(sweep):
    assert set(sweep) <= KEYS
    assert sweep["metric"]["goal"] in ("minimize", "maximize")
    for name, parameter in sweep["parameters"].items():
        if "value" in parameter or "values" in parameter:
            assert len(parameter) == 1, name
            continue
        keys = set(parameter) - {"distribution"}
        assert keys == DISTRIBUTIONS[parameter["distribution"]], name
        assert parameter["min"] < parameter["max"], name
        assert sweep["method"] != "grid", f"{name}: a grid has no distributions"


def test_wandb_reads_the_search_space_and_the_direction(sweep):
    pytest.importorskip("optuna")
    scheduler = pytest.importorskip("wandb.sdk.sweeps.scheduler.optuna")
    space = scheduler.search_space_from_sweep_config(sweep["parameters"])
    assert set(space) == set(sweep["parameters"])
    assert scheduler.sweep_directions(sweep) == [sweep["metric"]["goal"]]


def test_every_proposal_is_a_valid_run(sweep):
    choices = {name: extremes(parameter) for name, parameter in sweep["parameters"].items()}
    assert set(choices["model"]) <= set(options("model"))
    hashes = set()
    for place in (0, 0.5, 1):  # the first values of all parameters, those in the middle, the last
        values = {name: ends[round(place * (len(ends) - 1))] for name, ends in choices.items()}
        words = command_of(sweep, values)
        assert words[:2] == ["zoo", "train"]
        config = compose_run(words[2:])
        assert config.logger.name == "wandb"
        assert config.logger.project is None, "the agent's WANDB_PROJECT, or zoo"
        assert sweep["project"] == PROJECT
        for name, value in values.items():
            if name not in ("model", "data"):
                assert OmegaConf.select(config, name) == value
        hashes.add(identify(config).config_hash)
    assert len(hashes) == 3
    assert entry_points(group="console_scripts")["zoo"].value == "zoo.cli:main", "an agent calls `zoo`"


def test_the_metric_of_a_sweep_is_logged(sweep):
    data = sweep["parameters"]["data"]["value"]
    logged = {BEST_LOSS, "bits_per_dim", f"fd/{data}-cnn"}
    assert sweep["metric"]["name"] in logged
    if sweep["method"] != "grid":
        assert sweep["metric"]["name"] == BEST_LOSS, "a search uses no test values"


def test_the_commands_of_the_page_on_wandb_are_valid():
    page = (Path(__file__).parents[2] / "docs/wandb.md").read_text()
    lines = [
        shlex.split(line.split("  #")[0]) for line in page.splitlines() if line.startswith(("zoo ", "wandb "))
    ]
    assert {tuple(words[:2]) for words in lines} >= {("zoo", "train"), ("zoo", "sync"), ("zoo", "workspace")}
    for words in lines:
        if words[:2] == ["zoo", "train"]:
            assert compose_run(words[2:]).logger.name in ("wandb", "none", "tensorboard", "trackio")
        elif words[0] == "zoo":
            make_parser().parse_args(words[1:])
        elif words[1] == "sweep":
            assert (shipped("sweeps").parent / words[2]).is_file()
