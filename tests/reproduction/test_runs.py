"""Tests of which record belongs to which recipe, of what is run, and of the files that are written."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from rich.console import Console
from tables import run as invented
from tables import table as small

import zoo.reproduction.reproduce as door
from zoo.config.identities import Identities
from zoo.errors import ZooError
from zoo.record import Cost, Metric, Provenance, Record
from zoo.reproduction import load, report
from zoo.reproduction.check import Mismatch, Splits, check_data, stored
from zoo.reproduction.overview import command, overview, print_overview
from zoo.reproduction.published import published_values
from zoo.reproduction.render import write
from zoo.reproduction.runs import Finder, check_overrides, overrides, write_sweep
from zoo.reproduction.terminal import print_report
from zoo.reproduction.texts import published
from zoo.sweep.check import check_jobs

RECIPE = {"overrides": {"model": "realnvp", "data": "moons", "training.updates": 50}, "seeds": [0, 1]}
ERROR = {"error": 0.2, "error_kind": "deviation over runs", "error_runs": 10}


@pytest.fixture(scope="module")
def table():
    return small(ERROR, recipes={"flow": RECIPE})


@pytest.fixture(scope="module")
def identities():
    return Identities()


def record(table, identities, seed=0, extra=(), value=3.0, updates=50, status="finished", recipe="flow"):
    """Write a record of a recipe with more overrides; return it."""
    stated = overrides(table.recipes[recipe], seed)
    identity = identities.of([*stated, *extra])
    return Record(
        identity.run_id, identity.model, "flow", identity.data, seed, status,
        metrics={"nll": Metric(value, "nats", kind="exact", standard_error=0.01, n=1000)},
        cost=Cost(train_seconds=10.0, updates=updates),
        provenance=Provenance(config=identity.config, overrides=[*stated, "sweep=small"]),
    )  # fmt: skip


def found(table, records):
    runs = []
    for one in records:
        run = invented(3.0)
        run.record = one
        runs.append(run)
    return Finder().sort(table, runs, ["flow"])["flow"]


def test_a_record_belongs_to_a_recipe_by_its_settings_on_any_device(table, identities):
    runs = found(table, [record(table, identities), record(table, identities, 1, ["trainer=cpu"])])
    assert sorted(runs.full) == [0, 1]
    assert not runs.partial
    assert not runs.stale
    other = found(table, [record(table, identities, 0, ["training.updates=60"])])
    assert not other.full
    assert other.stale == [
        f"{record(table, identities, 0, ['training.updates=60']).run_id} is left out: it was made with "
        "training.updates=60, the recipe now has 50; the same command makes it again"
    ]


def test_data_that_are_drawn_by_run_have_the_runs_seed(identities):
    drawn = small(ERROR, recipes={"flow": RECIPE | {"seeded": ["data.data_seed"]}})
    own, shared = record(drawn, identities, 1), record(small(ERROR, recipes={"flow": RECIPE}), identities, 1)
    assert own.provenance.config["data"]["data_seed"] == 1
    assert sorted(found(drawn, [own]).full) == [1]
    assert not found(drawn, [shared]).full


def test_each_run_of_tongs_table_has_data_of_its_own(tmp_path):
    tong = load("tong_table2")
    file = write_sweep(tong, [(key, seed) for key in tong.recipes for seed in (42, 43)], None, tmp_path)
    jobs = yaml.safe_load(file.read_text())["list"]
    assert [job["data.data_seed"] for job in jobs] == [42, 43] * len(tong.recipes)


def test_a_run_has_the_default_of_a_setting_that_zoo_gained_later(table, identities):
    old = record(table, identities)
    del old.provenance.config["model"]["bound"]
    assert sorted(found(table, [old]).full) == [0]
    own = {"overrides": RECIPE["overrides"] | {"model.bound": 2.0}}
    other = small(ERROR, recipes={"flow": RECIPE | own})
    new = record(other, identities)
    assert sorted(found(other, [new]).full) == [0]
    del new.provenance.config["model"]["bound"]
    runs = found(other, [new])
    assert not runs.full
    assert "it was made with model.bound=3.0, the recipe now has 2.0" in runs.stale[0]


def test_a_run_of_a_recipe_with_an_experiment_that_no_longer_counts_is_named(identities):
    """A sweep writes ``+experiment=``."""
    recipe = {"overrides": {"experiment": "svae_mnist_dynamic", "model.latent_dim": 5}, "seeds": [0, 1]}
    svae = small(ERROR, recipes={"flow": recipe})
    old = record(svae, identities, 0, ["training.lr=0.5"])
    old.provenance.overrides[0] = f"+{old.provenance.overrides[0]}"
    assert old.provenance.overrides[0] == "+experiment=svae_mnist_dynamic"
    assert "training.lr=0.5, the recipe now has 0.001" in found(svae, [old]).stale[0]
    assert found(svae, [old, record(svae, identities, 1)]).stale, "another seed does not replace it"
    assert not found(svae, [old, record(svae, identities)]).stale, "the same seed does"


@pytest.mark.parametrize(
    ("limit", "validations", "done", "more", "belongs"),
    [
        pytest.param(
            30, 6, 25, [], True, id="stopped early, with a lower limit than the recipe's 50 updates"
        ),
        pytest.param(90, 18, 25, [], True, id="stopped early, with a higher limit"),
        pytest.param(30, 6, 30, [], False, id="trained until its own limit"),
        pytest.param(90, 18, 50, [], False, id="trained as long as the recipe allows, so stopped by neither"),
        pytest.param(30, 3, 20, [], False, id="validated half as often"),
        pytest.param(30, 6, 25, ["training.patience=null"], False, id="without early stopping"),
        pytest.param(30, 6, 25, ["training.schedule=cosine"], False, id="a rate that falls until the limit"),
        pytest.param(30, 6, 25, ["training.lr=0.5"], False, id="another rate"),
    ],
)
def test_a_run_that_stopped_early_belongs_to_its_recipe_under_another_limit(
    identities, limit, validations, done, more, belongs
):
    own = {"training.validations": 10, "training.patience": 2, "training.schedule": "constant"}
    stops = small(ERROR, recipes={"flow": RECIPE | {"overrides": RECIPE["overrides"] | own}})
    other = [f"training.updates={limit}", f"training.validations={validations}", *more]
    runs = found(stops, [record(stops, identities, 0, other, updates=done)])
    assert (sorted(runs.full), bool(runs.stale)) == (([0], False) if belongs else ([], True))


def test_a_run_is_partial_if_a_budget_of_time_ended_it(table, identities):
    short = record(table, identities, 0, ["training.max_seconds=60"], updates=20)
    whole = record(table, identities, 1, ["training.max_seconds=60"], updates=50)
    runs = found(table, [short, whole])
    assert (sorted(runs.partial), sorted(runs.full)) == ([0], [1])


def test_a_recipe_whose_files_are_not_here_yet_says_which():
    table = small(recipes={"flow": {"overrides": {"experiment": "no_such_recipe"}}})
    assert found(table, []).missing == "experiment no_such_recipe"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.updates=5", "would change the paper's recipe"),
        ("model.layers=2", "would change the paper's recipe"),
        ("seed=3", "is written as --seeds N"),
        ("training.max_seconds=9", "is written as --budget 30m"),
        ("list", "no option called 'list'"),
    ],
)
def test_an_override_that_would_change_a_recipe_is_refused(override, sentence):
    with pytest.raises(ZooError, match=sentence):
        check_overrides([override])
    check_overrides(
        ["data.root=/data", "trainer=gpu", "logger=none", "launcher=slurm", "hydra.launcher.mem_gb=4"]
    )


def test_budgets_and_seeds_that_are_none_are_refused():
    for text in ("", "0m", "fast", "-3"):
        with pytest.raises(ZooError, match="--budget is a time"):
            door.seconds(text)
    for text in ("", "0", "two", "1,x"):
        with pytest.raises(ZooError, match="--seeds is a number of seeds"):
            door.seed_list(text, [0])
    with pytest.raises(
        ZooError, match="--seeds 42 asks for 42 seeds; for the seed 42 alone add a comma: --seeds 42,"
    ):
        door.seed_list("42", [42, 43])
    assert door.seed_list("42,", [42, 43]) == [42]


def test_a_sweep_has_one_job_for_each_missing_run_and_the_tables_name(table, tmp_path):
    file = write_sweep(table, [("flow", 0), ("flow", 7)], 90.0, tmp_path)
    jobs = yaml.safe_load(file.read_text())["list"]
    assert file.name == "small.yaml"
    assert jobs == [RECIPE["overrides"] | {"seed": seed, "training.max_seconds": 90.0} for seed in (0, 7)]


class Started:
    """Stands for ``run_sweep``: keeps the jobs that it was given."""

    def __init__(self):
        self.jobs, self.options = [], {}

    def __call__(self, file, extra, **options):
        self.jobs = [
            (job["seed"], job.get("training.max_seconds"))
            for job in yaml.safe_load(Path(file).read_text())["list"]
        ]
        self.options = options | {"extra": list(extra)}
        return Path(file).parent, []


def read(data):
    x = np.random.default_rng(0).normal(size=(500, 2))
    return Splits(x[:400], x[400:])


def run(table, tmp_path, monkeypatch, **options):
    started = Started()
    monkeypatch.setattr(door, "run_sweep", started)
    absent = door.run_table(
        table, table.cells, options.pop("read", read), runs=tmp_path, console=Console(quiet=True), **options
    )
    return started, absent


def test_only_the_runs_that_are_missing_are_made(table, identities, tmp_path, monkeypatch):
    record(table, identities, 0).write(tmp_path / "a")
    started, absent = run(table, tmp_path, monkeypatch, jobs=2, extra=["logger=none"])
    assert started.jobs == [(1, None)]
    assert (started.options["parallel"], started.options["extra"], absent) == (2, ["logger=none"], [])
    assert run(table, tmp_path, monkeypatch, seeds="3")[0].jobs == [(1, None), (2, None)]
    assert run(table, tmp_path, monkeypatch, budget=60.0)[0].jobs == [(1, 60.0)]
    record(table, identities, 1, status="failed").write(tmp_path / "b")
    assert run(table, tmp_path, monkeypatch)[0].jobs == []
    assert run(table, tmp_path, monkeypatch, retry_failed=True)[0].jobs == [(1, None)]


def test_a_slip_is_refused_before_the_first_run_of_a_table(table, tmp_path):
    with pytest.raises(ZooError, match=r"bf17.*No job was started"):
        door.run_table(
            table,
            table.cells,
            read,
            extra=["trainer.precision=bf17"],
            runs=tmp_path,
            console=Console(quiet=True),
            check=check_jobs,
        )
    assert not list(tmp_path.glob("*/"))


def test_runs_that_did_not_finish_are_named(table, tmp_path, monkeypatch):
    class Ended(Started):
        def __call__(self, file, extra, **options):
            super().__call__(file, extra, **options)
            states = ("finished", "diverged", "refused", "failed")
            jobs = [SimpleNamespace(identity=SimpleNamespace(run_id=state), state=state) for state in states]
            return Path(file).parent, jobs

    monkeypatch.setattr(door, "run_sweep", Ended())
    left = door.run_table(table, table.cells, read, runs=tmp_path, console=Console(quiet=True))
    assert left == ["diverged: diverged", "refused: refused", "failed: failed"]


def test_a_longer_budget_makes_a_shortened_run_again(table, identities, tmp_path, monkeypatch):
    for seed in (0, 1):
        record(table, identities, seed, ["training.max_seconds=60"], updates=9).write(tmp_path / str(seed))
    assert run(table, tmp_path, monkeypatch, budget=60.0)[0].jobs == []
    assert run(table, tmp_path, monkeypatch, budget=90.0)[0].jobs == [(0, 90.0), (1, 90.0)]
    assert run(table, tmp_path, monkeypatch)[0].jobs == [(0, None), (1, None)]


def test_recipes_for_an_accelerator_start_only_when_they_are_named(tmp_path, monkeypatch):
    table = small(recipes={"flow": RECIPE | {"accelerator": True}})
    assert run(table, tmp_path, monkeypatch)[0].jobs == []
    assert len(run(table, tmp_path, monkeypatch, named=True)[0].jobs) == 2
    assert len(run(table, tmp_path, monkeypatch, extra=["trainer=gpu"])[0].jobs) == 2


def test_missing_data_leave_out_their_runs_and_say_why(table, tmp_path, monkeypatch):
    def nothing(data):
        raise ZooError("moons is not here")

    started, absent = run(table, tmp_path, monkeypatch, read=nothing)
    assert (started.jobs, absent) == ([], ["moons is not here"])


def test_other_data_than_the_papers_stop_the_table_before_any_training(tmp_path, monkeypatch):
    form = {"data": {"data": "moons"}, "fit": "gaussian", "value": 5.0, "tolerance": 0.01}
    table = small(recipes={"flow": RECIPE}, closed_forms={"g": form})
    started = Started()
    monkeypatch.setattr(door, "run_sweep", started)
    with pytest.raises(Mismatch, match=r"gives 2\.\d+ instead of 5 on data=moons: .* nothing is trained"):
        door.run_table(table, table.cells, read, runs=tmp_path, console=Console(quiet=True))
    assert started.jobs == []


def test_fingerprints_are_kept_and_a_damaged_file_of_them_counts_as_none(tmp_path):
    x = read([])
    nll = 0.5 * (x.test**2).sum(1) + np.log(2 * np.pi)
    form = {"data": {"data": "moons"}, "fit": "gaussian", "value": float(nll.mean()), "tolerance": 0.1}
    table = small(closed_forms={"g": form})
    (one,) = check_data(table, ["g"], read, tmp_path).values()
    assert one.holds
    assert stored([tmp_path])["g"] == one
    (tmp_path / "fingerprints.json").write_text("{")
    assert stored([tmp_path]) == {}


def test_a_report_is_five_files_and_a_figure(table, identities, tmp_path):
    for seed, value in ((0, 2.9), (1, 3.2)):
        record(table, identities, seed, value=value).write(tmp_path / str(seed))
    result = report(table, runs=tmp_path)
    write(result, tmp_path / "out")
    content = json.loads((tmp_path / "out/table.json").read_text())
    (cell,) = content["cells"]
    assert cell["ours"] == pytest.approx(-3.05)
    assert cell["seeds"] == {"0": -2.9, "1": -3.2}
    assert content["expected_beyond_two"] == pytest.approx(0.0455, abs=1e-4)
    (line,) = csv.DictReader((tmp_path / "out/table.csv").open())
    assert float(line["z"]) == pytest.approx(cell["z"])
    assert line["status"] == cell["status"] == "replicated"
    for name in ("table.md", "table.tex", "index.html"):
        text = (tmp_path / "out" / name).read_text()
        assert "Flow" in text
        assert "replicated" in text
        assert "-3.05" in text
    assert (tmp_path / "out/table.tex").read_text().count(r"\toprule") == 1
    assert "<script src" not in (tmp_path / "out/index.html").read_text()
    assert (tmp_path / "out/differences.png").exists()
    assert "combined error" in (tmp_path / "out/differences.svg").read_text()


def test_every_file_has_what_a_cell_is_worth_and_the_floor_as_a_row(table, identities, tmp_path):
    floor = {"floor": 0.5, "floor_deviation": 0.04, "floor_draws": 10}
    for seed in (0, 1):
        one = record(table, identities, seed)
        one.metrics["nll"].details.update(floor)
        one.write(tmp_path / str(seed))
    outcome = report(table, runs=tmp_path)
    write(outcome, tmp_path / "out")
    latex, text, page = (
        (tmp_path / "out" / name).read_text() for name in ("table.tex", "table.md", "index.html")
    )
    for fact in ("std over 10 runs", "note", "exact", "50 updates", "two real samples", "0.500"):
        assert fact in latex
        assert fact in text
        assert fact in page
    assert "others" not in text  # no cell has a witness
    assert json.loads((tmp_path / "out/table.json").read_text())["floors"]["LL"]["value"] == 0.5
    print_report(outcome, console := Console(width=80, record=True))
    assert "two real samples" in console.export_text()


def test_a_terminal_of_80_columns_shows_the_whole_table(table, identities, tmp_path, capsys):
    record(table, identities, 0).write(tmp_path / "a")
    print_report(report(table, runs=tmp_path), Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("Flow" in line and "-3±0.2" in line and "n1" in line for line in lines)
    print_overview(overview(), Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("maf_table2_mnist" in line for line in lines)


def test_a_verdict_does_not_depend_on_what_is_selected(identities, tmp_path):
    """Row B has a single seed, so its spread over refits is that of row A, which the selection leaves out."""
    cells = [
        {"row": row, "column": "LL", "value": -3.0, "source": "note", "grade": "C", "recipe": key}
        for row, key in (("A", "wide"), ("B", "flow"))
    ]
    wide = {"overrides": RECIPE["overrides"] | {"training.updates": 40}, "seeds": [0, 1]}
    two = small(recipes={"flow": RECIPE, "wide": wide}, cells=cells)
    for seed, value in ((0, 1.0), (1, 5.0)):
        record(two, identities, seed, value=value, updates=40, recipe="wide").write(tmp_path / f"a{seed}")
    record(two, identities, 0, value=3.5).write(tmp_path / "b")
    (whole,) = (result for result in report(two, runs=tmp_path).results if result.cell.row == "B")
    selected = report(two, two.select("B"), tmp_path)
    (alone,) = selected.results
    assert whole.refit_from == alone.refit_from == "ours, row A"
    assert whole.difference == alone.difference
    assert [run.record.seed for run in selected.runs] == [0], "the lender is no run of the selection"


def test_a_recalled_error_stands_in_parentheses(table):
    (cell,) = table.cells
    texts = [
        published(cell.model_copy(update={"grade": grade, "error_grade": of_error}))
        for grade, of_error in (("C", None), ("C", "M"), ("M", None), ("M", "M"))
    ]
    assert texts == ["-3±0.2", "-3 (±0.2)", "(-3±0.2)", "(-3±0.2)"]


def test_the_command_of_a_cell_runs_that_cell(table):
    (result,) = report(table, runs=Path("nowhere")).results
    assert command(result, table) == "zoo reproduce small --only Flow/LL"


def test_runs_of_another_table_count_and_its_damaged_records_are_not_named(
    table, identities, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    record(table, identities, 0).write(tmp_path / "runs/reproduce/other_table/a")
    record(table, identities, 1).write(tmp_path / "results/papers/small/records/b")
    (tmp_path / "runs/reproduce/other_table/broken").mkdir()
    (tmp_path / "runs/reproduce/other_table/broken/record.json").write_text("{")
    report_of_table = report(table)
    assert sorted(report_of_table.results[0].ours.seeds) == [0, 1]
    assert report_of_table.warnings == []
    (tmp_path / "runs/reproduce/small/broken").mkdir(parents=True)
    (tmp_path / "runs/reproduce/small/broken/record.json").write_text("{")
    assert len(report(table).warnings) == 1


def test_packed_records_make_the_report_again_and_new_runs_join_them(
    table, identities, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    committed = tmp_path / "results/papers/small"
    for seed in (0, 1):
        runs = tmp_path / f"runs{seed}"
        record(table, identities, seed).write(runs / "run")
        write(report(table, runs=runs), committed, archive=True)
        shutil.rmtree(runs)
    assert [path.name for path in committed.iterdir() if path.is_dir()] == []
    again = report(table)
    assert sorted(again.results[0].ours.seeds) == [0, 1]
    write(again, tmp_path / "out")
    assert (tmp_path / "out/table.json").read_bytes() == (committed / "table.json").read_bytes()
    packed = committed / "records.tar.xz"
    packed.write_bytes(packed.read_bytes()[:200])
    record(table, identities, 2).write(tmp_path / "runs/reproduce/small/run")
    damaged = report(table)
    assert [*damaged.results[0].ours.seeds] == [2]
    assert "pack them again" in damaged.warnings[0]
    with pytest.raises(ZooError, match="pack them again"):
        write(damaged, committed, archive=True)


def test_an_infinite_difference_is_written_as_none_and_drawn_at_the_edge(identities, tmp_path):
    table = small(ERROR | {"value": -2.0, "error": 0.0}, recipes={"flow": RECIPE})
    for seed in (0, 1):
        record(table, identities, seed, value=4.0).write(tmp_path / str(seed))
    report_of_table = report(table, runs=tmp_path)
    assert report_of_table.results[0].status == "differs: worse"
    write(report_of_table, tmp_path / "out")
    assert json.loads((tmp_path / "out/table.json").read_text())["cells"][0]["z"] is None


def test_a_run_of_a_recipe_brings_the_papers_values_to_the_page(identities):
    run = invented(3.0)
    run.record = record(load("tong_table2"), identities, 42, recipe="cfm_normal_8gaussians")
    values = published_values([run])[run.record.run_id]
    (energy,) = (value for value in values if value.metric == "normalised_path_energy")
    assert energy.cell.startswith("I-CFM, N->8gaussians")
    assert energy.text.startswith("0.222 (±0.032)")
    assert {value.metric for value in values} == {"normalised_path_energy", "wasserstein2"}


def test_a_run_of_no_recipe_has_no_published_value(table, identities):
    run = invented(3.0)
    run.record = record(table, identities)
    assert published_values([run]) == {}
