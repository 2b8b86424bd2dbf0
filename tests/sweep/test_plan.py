"""The plan of a sweep, and the commands of the documentation."""

from __future__ import annotations

import io
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from forked import SWEEP, run_small_sweep
from rich.console import Console

from zoo.cli import main
from zoo.config import check_choices, compose_run, to_dict
from zoo.config.identities import Identities
from zoo.sweep import check as checking
from zoo.sweep import plan_sweep, run_sweep


def test_a_run_that_is_named_twice_is_one_job_at_its_first_place(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP + "list: [{model: realnvp, seed: 0}, {model: maf, seed: 1}]\n")
    plan = plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path / "runs")
    assert len(plan.jobs) == plan.size == 3
    assert [job.identity.run_id[:8] for job in plan.jobs] == ["realnvp-", "maf-moon", "maf-moon"]
    assert [job.identity.seed for job in plan.jobs] == [0, 0, 1]
    assert [job.directory for job in plan.jobs] == [tmp_path / "runs" / j.identity.run_id for j in plan.jobs]


def test_a_dry_run_writes_nothing(tmp_path):
    jobs, output = run_small_sweep(tmp_path, dry_run=True)
    assert "2 jobs, 0 done, 2 left" in output
    assert not (tmp_path / "runs").exists()
    assert len(jobs) == 2


def test_conditions_that_no_job_meets_are_reported(workdir, capsys):
    whens = ["model=mfa: {training.lr: 0.1}", "model=maf: {training.lr: 0.1}", "data=moons: {}", "seed=7: {}"]
    Path("mine.yaml").write_text(SWEEP + "when:\n  " + "\n  ".join(whens) + "\n")
    assert main(["sweep", "mine.yaml", "--dry-run", "seed=7"]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:")]
    assert notes == ["note: no job meets the condition 'model=mfa' of 'when'."]
    assert main(["sweep", "mine.yaml", "--dry-run", "model=realnvp"]) == 0  # maf is left out on purpose
    assert "model=maf" not in capsys.readouterr().out.partition("Sweep")[0]


def test_the_lines_of_the_plan_can_be_pasted_into_a_shell(workdir, capsys):
    Path("mine.yaml").write_text(SWEEP.replace("[8]", "[8, 8]"))
    assert main(["sweep", "mine.yaml", "--dry-run"]) == 0
    (line, _) = [text for text in capsys.readouterr().out.splitlines() if "zoo train" in text]
    overrides = shlex.split(line)[3:]
    assert "model.hidden=[8, 8]" in overrides
    assert compose_run(overrides).model.hidden == [8, 8]
    lists = "training.augment=[translation,cutout]"
    assert main(["sweep", "quickstart", "--dry-run", "model=gan", lists]) == 0
    assert f"'{lists}'" in capsys.readouterr().out  # the terminal prints the brackets, which are not markup


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    ("slip", "sentence"),
    [
        ("training.lr: [0.1, -1]", "training.lr must be a number, at least 0; got -1."),
        ("training.betas: [[0.9, 0.99], [0.9]]", "training.betas must be two decays; got [0.9]."),
        ("model.hidden: [[8], [0]]", "model.hidden must be a list of whole numbers"),
        ("evaluation.samples: [20, 1.5]", "evaluation.samples must be"),
        ("trainer.precision: [32-true, 16-mixed]", "trainer.precision must be"),
        ("data.data_seed: [0, -1]", "data.data_seed must be"),
        ("+trainer.max_epochs: [1]", "the budget is training.updates="),
        ("+foo: [1]", "foo is not a section"),
        ("training.accumulate: [1, 3]", "The global batch of 16 cannot be shared"),
        ("data: [moons, table]", "data=table needs the path"),
    ],
)
def test_a_slip_in_any_job_is_refused_while_the_sweep_is_planned(workdir, capsys, slip, sentence, dry):
    text = SWEEP.replace("seed: [0]}", f"seed: [0, 1], {slip}}}")
    Path("mine.yaml").write_text(re.sub(r"  data[^\n]*\n", "", text) if slip.startswith("data:") else text)
    assert main(["sweep", "mine.yaml", *(["--dry-run"] if dry else [])]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in error
    assert "No job was started" in error
    assert not Path("runs").exists()


def test_many_jobs_are_checked_once_for_each_distinct_section(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(checking, "check_section", lambda section, settings: seen.append(section))
    grid = "grid: {model: [realnvp, maf], training.lr: [0.1, 0.2], seed: [0, 1, 2, 3, 4, 5, 6, 7]}"
    (tmp_path / "mine.yaml").write_text(re.sub("grid: .*", grid, SWEEP))
    plan = plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path / "runs")
    checking.check_jobs(plan, [job.overrides for job in plan.jobs])
    assert len(plan.jobs) == 32
    assert Counter(seen) == {
        "model": 2, "training": 2, "data": 1, "evaluation": 1, "trainer": 1, "logger": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=maf", "data=moons", "training.lr=0.1", "seed=3"],
        ["model=gan", "data=digits", "+trainer.deterministic=true"],
        ["+width=3", "model=made", "model.hidden=[${width}]"],
        ["experiment=glow_cifar10", "training.updates=5"],
    ],
    ids=" ".join,
)
def test_the_settings_of_many_runs_are_those_of_each(overrides):
    composed = compose_run(overrides)
    assert Identities().settings(overrides) == {
        key: value for key, value in to_dict(composed).items() if key != "hydra"
    }


DOCS = (Path(__file__).resolve().parents[2] / "docs/sweeps.md").read_text()
LINES = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", DOCS, re.DOTALL)
    for line in block.splitlines()
]


def test_the_documentation_has_commands_for_runs_and_for_sweeps():
    assert {shlex.split(line)[1] for line in LINES} == {"sweep", "train"}


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_documentation_can_be_planned(line, workdir):
    """Sweeps are planned and runs composed; ``test_multirun.py`` runs some of them."""
    _, verb, *arguments = shlex.split(line)
    overrides = [a for a in arguments if "=" in a]
    if "launcher=slurm" in overrides:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    if verb == "sweep":
        if arguments[0].startswith("search"):
            pytest.importorskip("optuna")
        _, jobs = run_sweep(arguments[0], overrides, dry_run=True, console=Console(file=io.StringIO()))
        assert jobs or arguments[0] == "search_async"  # which proposes while it runs
    elif "-m" in arguments:
        check_choices(overrides)
        compose_run([o.partition(",")[0] for o in overrides if "joblib" not in o and "submitit" not in o])
    else:
        compose_run(overrides)


def test_every_yaml_of_the_documentation_is_a_sweep(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "mine.yaml").write_text(block)
        assert plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path).size > 1


@pytest.mark.parametrize("name", ["my sweep (1)", "2024", "a,b", "it's", "null", "true", "1e3"])
def test_the_file_of_a_sweep_may_have_any_name(workdir, name):
    (workdir / f"{name}.yaml").write_text("grid: {seed: [0, 1]}\noverrides: {data: moons}\n")
    plan = plan_sweep(f"{name}.yaml", [], None)
    assert len(plan.jobs) == 2
    assert compose_run(plan.jobs[0].overrides).sweep == name
