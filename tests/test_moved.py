"""Settings that have moved into nodes keep their old names, in records of schema 1 and on command lines."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from zoo.cli import main
from zoo.comparison.packed import unpacked
from zoo.config import compose_run, with_present_names
from zoo.config.overrides import split
from zoo.errors import ZooError
from zoo.moved import NODES, OLD_NAMES, renamed, upgraded
from zoo.record import read

ROOT = Path(__file__).resolve().parents[1]
OLD = ROOT / "tests/record/old"  # a record of schema 1 of each model of an earlier ledger
PACKED = [
    unpacked(ROOT / "results" / name / "records.tar.xz") for name in ("claims", "ffjord_vs_matching", "toys")
]
RECORDS = sorted(file for place in (OLD, ROOT / "results", *PACKED) for file in place.rglob("record.json"))


def shipped_settings(name, group="model"):
    """Return the settings of a file of conf/, with those of the file that it builds on."""
    settings = yaml.safe_load((ROOT / f"conf/{group}/{name}.yaml").read_text())
    for base in settings.get("defaults", []):
        if isinstance(base, str) and base != "_self_":
            settings = shipped_settings(base, group) | settings
    return settings


def has(settings, path):
    """Return whether nested settings have the setting at a path."""
    for key in path:
        if not isinstance(settings, dict) or key not in settings:
            return False
        settings = settings[key]
    return True


def test_every_name_in_the_table_is_a_setting_of_a_shipped_model():
    models = [yaml.safe_load(file.read_text()) for file in (ROOT / "conf/model").glob("*.yaml")]
    for node, names in NODES.items():
        nodes = [model[node] for model in models if isinstance(model.get(node), dict)]
        assert set(names.values()) <= {name for settings in nodes for name in settings}, node


def test_every_setting_of_an_old_record_has_a_present_name():
    """Each record of schema 1 holds all settings of its model: all of them have a present name."""
    old = {}
    for file in RECORDS:
        raw = json.loads(file.read_bytes())
        if raw["schema"] == 1 and raw["provenance"].get("config"):
            old[raw["model"]] = raw["provenance"]["config"]["model"]
    assert len(old) > 20
    for name, settings in old.items():
        overrides = upgraded([f"model.{key}=0" for key in settings if not key.startswith("_")], settings)
        assert overrides is not None
        present = shipped_settings(name)
        for override in overrides:
            setting = split(override)[0].split(".")[1:]
            assert has(present, setting), f"{name}: {override}"


def test_the_command_of_every_committed_record_is_accepted():
    """Settings of models and data are looked up in their files, the others of a training module composed."""
    commands: dict[tuple[str | None, str], dict[str, str]] = {}
    for file in RECORDS:
        record = read(file)
        assert record.provenance.command is not None, file
        program, verb, *overrides = shlex.split(record.provenance.command)
        assert (program, verb) == ("zoo", "train")
        choices = dict(map(split, overrides))
        sections = {
            "model": shipped_settings(record.model),
            "data": shipped_settings(record.data.split(":")[0], "data"),
        }
        assert [renamed(override, sections["model"]) for override in overrides] == overrides, file
        for section, *setting in (key.split(".") for key in choices if key.startswith(("model.", "data."))):
            assert has(sections[section], setting), f"{file}: {section}.{setting}"
        shared = {
            key: o for key, o in zip(choices, overrides, strict=True) if key.split(".")[0] not in sections
        }
        module = choices.get("training") or str(sections["model"].get("defaults"))
        recipe = choices.get("+experiment") or choices.get("experiment")
        commands.setdefault((recipe, module), {}).update(shared | {"model": f"model={record.model}"})
    assert len(RECORDS) > 400
    assert len(commands) > 3
    for words in commands.values():
        compose_run(list(words.values()))


@pytest.mark.parametrize(
    ("model", "given", "present"),
    [
        ("ffjord", "model.train_trace=exact", "model.solver.train_trace=exact"),
        ("ffjord", "model.solver=euler", "model.solver.method=euler"),
        ("ffjord", "model.solver={method: euler}", "model.solver={method: euler}"),
        ("ffjord", "++model.kinetic=0.1", "++model.penalty.kinetic=0.1"),
        ("ffjord", "model.train_tolerance=null", "model.solver.train_tolerance=null"),
        ("residual_flow", "model.train_tolerance=null", "model.spectral.train_tolerance=null"),
        ("residual_flow", "model.exact_dim=4", "model.series.exact_dim=4"),
        ("diffusion", "model.schedule=linear", "model.schedule.form=linear"),
        ("diffusion", "model.sample_steps=10", "model.sampler.steps=10"),
        ("diffusion", "model.terms=8", "model.terms=8"),
        ("tarflow", "model.guidance=1.0", "model.guidance=1.0"),
        ("glow", "model.steps=2", "model.steps=2"),
        ("glow", "model.alpha=0.05", "model.pixels.alpha=0.05"),
        ("vae", "model.prior=mixture", "model.latents.prior=mixture"),
        ("vae_dense", "model.posterior=planar", "model.posterior=planar"),
        ("iresnet", "model.estimator=roulette", "model.estimator=roulette"),
    ],
)
def test_an_old_name_is_the_setting_that_it_has_become(model, given, present):
    assert with_present_names([f"model={model}", given]) == [f"model={model}", present]


def test_a_run_by_old_names_is_the_run_by_present_names():
    old = compose_run(["model=residual_flow", "model.coefficient=0.5", "model.train_tolerance=null"])
    new = compose_run(["model=residual_flow", "model.spectral={coefficient: 0.5, train_tolerance: null}"])
    assert old.model == new.model
    assert compose_run(["+experiment=ffjord_toy", "model.atol=0.5"]).model.solver.atol == 0.5


def test_a_sweep_over_models_renames_what_has_one_new_name():
    assert with_present_names(["model=ffjord,flow_matching", "model.atol=1"])[1] == "model.solver.atol=1"
    kept = with_present_names(["model=ffjord,residual_flow", "model.train_tolerance=1"])
    assert kept[1] == "model.train_tolerance=1"


def test_a_name_that_no_node_has_is_refused_as_before():
    with pytest.raises(ZooError, match=r"There is no setting called 'model\.estimator'"):
        compose_run(["model=iresnet", "model.estimator=roulette"])


def test_ones_own_model_keeps_settings_of_these_names():
    own = {"_target_": "mine.Mine", "coefficient": 1.0, "steps": 3, "solver": {"method": "euler"}}
    assert renamed("model.coefficient=2", own) == "model.coefficient=2"
    assert renamed("model.steps=2", own) == "model.steps=2"
    assert renamed("model.atol=2", own) == "model.atol=2"


def test_a_record_without_a_command_of_today_has_none():
    assert upgraded(["model=published/glow_cifar10"], {"levels": 3}) is None
    assert upgraded(["model=ffjord", "model.atol=1"], {}) is None
    assert upgraded(["model=ffjord", "seed=1"], {}) == ["model=ffjord", "seed=1"]
    assert {"train_trace", "preprocessing"} <= OLD_NAMES


def test_the_command_line_says_what_an_old_name_is_called_now(workdir, capsys):
    assert main(["train", "model=ffjord", "model.train_trace=exact", "seed=one"]) == 2
    printed = capsys.readouterr().err
    assert "zoo: model.train_trace is now called model.solver.train_trace.\n" in printed
    assert "seed is a whole number" in printed


def test_hydra_takes_old_names_too(workdir, capsys):
    flags = ["--cfg", "job", "-p", "model.solver"]
    assert main(["train", "model=ffjord", "model.train_trace=exact", *flags]) == 0
    assert "train_trace: exact" in capsys.readouterr().out
