"""The comparisons with peers: order statistics, shares, regressions, exponents, and missing peers."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil

import aims
import cases
import growth
import jobs
import measured
import pytest
import report
import suite
import torch
from table import RESULTS
from torch.utils.flop_counter import FlopCounterMode

# ``python -m benchmarks`` itself, under a name of its own
spec = importlib.util.spec_from_file_location(
    "benchmarks_command", RESULTS.parents[1] / "benchmarks" / "__main__.py"
)
command = importlib.util.module_from_spec(spec)
spec.loader.exec_module(command)


def row(peer, ratio, spread=0.01, **about):
    where = {"cpu": "EPYC", "cores": 2, "threads": 1, "torch": "2.15", "load": 0.5, "date": "2026-12-01"}
    about = where | {"case": "maf", "task": "train", "batch": 64, "rounds": 9, "seconds": 3.0} | about
    interval = [ratio - spread, ratio + spread]
    return {"peer": peer, "ratio": ratio, "interval": interval, "zoo_ms": 1.0, "peer_ms": ratio} | about


def test_the_interval_of_a_median_is_that_of_its_order_statistics():
    assert suite.interval([5.0, 1.0, 2.0, 3.0, 4.0]) == (3.0, 1.0, 5.0)  # too few to leave one out
    assert suite.interval([float(i) for i in range(20)]) == (9.5, 5.0, 14.0)  # ranks 6 and 15 of 20


def test_turns_are_compared_by_the_units_of_their_jobs():
    ticks = itertools.count()

    def clock():
        return float(next(ticks))

    jobs = {"zoo": suite.Job(lambda: None), "peer": suite.Job(lambda: None, units=4.0)}
    times = suite.rounds(jobs, seconds=0.0, clock=clock)
    assert times == {"zoo": [1.0] * 3, "peer": [0.25] * 3}


def test_the_table_has_the_best_peer_the_floor_the_compiled_speed_and_the_conditions():
    rows = [
        row("nflows", 1.5, version="0.14"),
        row("zuko", 1.2, version="1.6", load=1.5, date="2026-12-02"),
        row("floor", 0.35),
        row("zoo, compiled", 0.5, spread=0.1),
    ]
    absent = [row("FrEIA", 0, batch=batch, reason="ImportError: no") for batch in (1, 64)]
    text = report.table(rows, absent)
    assert (
        "| maf | train | 64 | 1 | zuko | 1.20 (1.19–1.21) | nflows 1.50 | 35 % | 2.00 (1.67–2.50) | – |"
        in text
    )
    assert "maf, batch 1, 64: FrEIA is not measured: ImportError: no" in text
    for part in ("EPYC, 1 thread of 2 cores", "load 0.5 to 1.5", "torch 2.15", "nflows 0.14, zuko 1.6"):
        assert part in text
    assert "measured 2026-12-01 to 2026-12-02, 3 s a comparison." in text
    assert "*" not in text


def test_too_few_rounds_for_an_interval_are_marked():
    text = report.table([row("zuko", 1.2, rounds=5)], [])
    assert "| 1.20 (1.19–1.21)* |" in text
    assert "least and most of fewer than 6 rounds" in text
    values = [float(i) for i in range(measured.ENOUGH)]
    share = 1 - 2 * 0.5**measured.ENOUGH  # of the interval from the least to the most
    assert suite.interval(values)[1:] == (values[0], values[-1])
    assert share >= 0.95 > 1 - 2 * 0.5 ** (measured.ENOUGH - 1)


def test_each_kind_of_machine_has_a_table_of_its_own_and_the_newest_is_in_the_documents():
    rows = [row("zuko", 1.2), row("zuko", 0.7, threads=2, date="2026-12-02")]
    text = report.table(rows, [])
    assert text.index("EPYC, 2 threads of 2 cores") < text.index("EPYC, 1 thread of 2 cores")
    for made in (report.best(rows), report.aims(rows)):
        assert "2 threads" in made
        assert "1 thread " not in made
    assert "| maf | – | **0.7** zuko | – |" in report.best(rows)


def test_the_aims_say_reached_missed_or_not_measured():
    rows = [
        row("nflows", 1.25, batch=1024),
        row("zuko", 1.09, batch=1024),
        row("nflows", 13.0, task="sample", batch=1),
        row("floor", 0.2, task="sample", batch=1),
        row("floor", 0.1, task="sample", batch=64),
        row("floor", 0.155, task="sample", batch=1024),
        row("floor", 0.55, case="glow", batch=32),
        row("zoo, compiled", 0.5, case="glow", batch=32),
    ]
    text = report.aims(rows)
    peer, missed, share = (
        "time of the fastest peer by zoo's",
        "**missed**, within the error",
        "share of the bare arithmetic's speed",
    )
    for line in (
        f"| maf | training step | 1024 | {peer} (zuko) | 1.1 | 1.09 (1.08–1.10) | {missed} |",
        f"| maf | sampling | 1 | {peer} (nflows) | 12 | 13.00 (12.99–13.01) | reached |",
        f"| maf | sampling | 64 | {peer} | 12 | – | not measured |",
        f"| maf | sampling | 1 | {share} | 15 % | 20 % (19–21) | reached |",
        f"| maf | sampling | 64 | {share} | 15 % | 10 % (9–11) | **missed** |",
        f"| maf | sampling | 1024 | {share} | 15 % | 15.5 % (14.5–16.5) | reached, within the error |",
        f"| glow | training step | 32 | {share} | 60 % | 55 % (54–56) | **missed** |",
        "| glow | training step | 32 | eager time by compiled | 1.4 | 2.00 (1.96–2.04) | reached |",
        f"| realnvp | density | 64 | {peer} | 1.3 | – | not measured |",
    ):
        assert line in text


def test_every_aim_is_that_of_a_case_and_of_a_batch_size_that_is_measured():
    for aim in aims.AIMS:
        assert set(aim.batches or ()) <= set(cases.CASES[aim.case][1])
        assert aim.unit in aims.UNITS


def test_the_committed_tables_of_peers_are_in_the_documents():
    page = (RESULTS.parents[1] / "docs" / "results.md").read_text(encoding="utf-8")
    for name in ("best", "aims"):
        text = (RESULTS / "peers" / f"{name}.md").read_text(encoding="utf-8")
        marker = f"results/benchmarks/peers/{name}.md"
        assert f"<!-- begin: {marker} -->\n{text.strip()}\n<!-- end -->" in page


def test_the_committed_rows_have_their_conditions_and_cases_that_exist():
    rows, _ = measured.load(RESULTS / "peers" / "cases.json")
    for line in rows:
        assert {"cpu", "cores", "threads", "load", "torch", "version", "date", "seconds", "command"} <= set(
            line
        )
        assert line["batch"] in cases.CASES[line["case"]][1]
        assert line["version"] or line["peer"] in ("floor", "zoo, compiled")


def test_a_run_replaces_only_what_it_measured():
    before = [
        row("nflows", 1.5),
        row("FrEIA", 0.9),
        row("nflows", 1.7, threads=2),
        row("zuko", 3, case="gone"),
    ]
    after = measured.merged(before, [row("nflows", 1.1), row("zoo", 1.0)], ["realnvp", "maf"])
    assert after == [row("nflows", 1.1), row("FrEIA", 0.9), row("nflows", 1.7, threads=2)]


def test_a_peer_is_missing_only_where_the_file_has_no_row_of_it():
    rows = [row("FrEIA", 0.9)]
    gone = [row("FrEIA", 0, batch=batch, reason="ModuleNotFoundError: FrEIA") for batch in (1, 64)]
    assert measured.still_missing(rows, [], gone) == gone[:1]
    assert measured.still_missing(rows, gone[:1], []) == gone[:1]


def test_rows_are_read_as_they_were_written(tmp_path):
    rows, missing = [row("nflows", 1.5), row("zuko", 1.2)], [row("FrEIA", 0, reason="no")]
    path = tmp_path / "peers" / "cases.json"
    assert measured.load(path) == ([], [])
    measured.save(path, rows, missing)
    assert measured.load(path) == (rows, missing)
    assert sum(line.startswith('  {"peer"') for line in path.read_text().splitlines()) == 3
    assert json.loads(path.read_text())["rows"] == rows


def test_a_regression_is_a_tenth_below_and_outside_of_both_intervals_on_the_same_kind_of_machine():
    before = [row("nflows", 1.5), row("zuko", 1.2), row("floor", 0.35), row("zoo, compiled", 0.5)]
    now = [
        row("nflows", 1.4),
        row("zuko", 1.0, spread=0.5),
        row("floor", 0.3, torch="2.16"),
        row("zoo, compiled", 0.6),
    ]
    assert measured.regressions(before, now) == [
        "maf, train, batch 64: share of the floor fell from 0.35 (2026-12-01; torch 2.15, now 2.16) to 0.30",
        "maf, train, batch 64: speed of compiled by eager fell from 2.00 (2026-12-01) to 1.67",
    ]
    for other in ({"cpu": "Xeon"}, {"cores": 4}, {"threads": 2}):
        assert measured.regressions(before, [line | other for line in now]) == []


def test_the_expected_time_is_that_of_the_rounds_and_of_the_first_calls():
    here = measured.machine(row("zuko", 1.0))
    before = [
        row("zuko", 1.0, zoo_ms=100.0, peer_ms=300.0),
        row("floor", 0.1, zoo_ms=100.0, peer_ms=100.0),
        row("zuko", 1.0, zoo_ms=1.0, peer_ms=1.0, cpu="Xeon"),
        row("zuko", 1.0, batch=1024, zoo_ms=2000.0, peer_ms=4000.0),
    ]
    rounds = {64: 6 * 0.5 + 2 * 0.5 + 1, 1024: 3 * 6.0 + 2 * 6.0 + 1}
    for batch, seconds in rounds.items():
        assert measured.expected_seconds([("maf", "train", batch)], before, here, 2.0) == (seconds, 0)
    assert measured.expected_seconds([("maf", "train", 1)], before, here, 2.0) == (7.0, 1)


def test_the_figure_names_its_conditions_and_tells_contestants_apart_without_colour():
    rows = [row(peer, 1.5, version="1") for peer in ("nflows", "normflows", "zuko")]
    rows += [
        row("floor", 0.3),
        row("zoo, compiled", 0.8),
        row("zuko", 2.0, case="glow", batch=1, version="1"),
    ]
    picture = report.figure(rows)
    assert picture.get_supxlabel() == report.conditions(rows)
    handles = picture.legends[0].legend_handles
    marks = [(handle.get_marker(), handle.get_fillstyle()) for handle in handles]
    assert len(set(marks)) == len(handles) == 5
    axes = [axes for part in picture.subfigs for axes in part.axes]
    assert [panel.get_title(loc="left") for panel in axes] == ["maf", "glow"]
    heights = [line.get_ydata()[0] for line in axes[0].lines if line.get_marker() not in ("None", "")]
    assert len(set(heights)) == 5


def test_bad_values_are_refused_in_one_sentence(monkeypatch, capsys):
    for given, words in {
        "--batch 0": "--batch: must be a whole number, at least 1; got 0.",
        "--threads 0": "--threads: must be a whole number, at least 1; got 0.",
        "--seconds -1": "--seconds: must be a number of seconds above 0; got -1.",
        "--seconds nan": "--seconds: must be a number of seconds above 0; got nan.",
        "gan": "unknown case gan",
        "--peers torch": "unknown peer torch",
        "--cpu-time --threads 2": "--threads 1",
    }.items():
        with pytest.raises(SystemExit) as ended:
            command.arguments(given.split())
        assert ended.value.code == 2
        message = capsys.readouterr().err
        assert words in message
        assert message.count("\n") == 1


def test_threads_are_the_usable_cores_unless_they_are_given(monkeypatch):
    monkeypatch.setattr(command.os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert command.arguments([]).threads == 3
    assert command.arguments(["--threads", "2"]).threads == 2


def test_a_run_writes_its_own_command_and_keeps_the_rows_of_a_peer_that_is_gone(
    tmp_path, monkeypatch, capsys
):
    def made(batch):
        job = suite.Job(lambda: None)
        return {
            "zoo": lambda: {"train": job},
            "nflows": lambda: {"train": job},
            "gone": lambda: {"train": job},
        }

    shutil.copytree(RESULTS, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "peers" / "cases.json"
    path.unlink()
    monkeypatch.setattr(command.tables, "RESULTS", tmp_path)
    monkeypatch.setattr(cases, "CASES", {"maf": (made, (64,))})
    monkeypatch.setattr(command, "CASES", cases.CASES)
    for packages, seconds in ((("nflows", "gone"), "0.02"), (("nflows",), "0.01")):
        names = {"nflows": "json", "gone": "json" if "gone" in packages else "no_such_package"}
        monkeypatch.setattr(cases, "PACKAGES", names)
        monkeypatch.setattr("sys.argv", ["benchmarks", "maf", "--seconds", seconds, "--threads", "1"])
        monkeypatch.setattr(command.torch, "set_num_threads", lambda _: None)
        command.main()
    rows, missing = measured.load(path)
    commands = {line["peer"]: line["command"] for line in rows}
    assert commands == {
        "nflows": "python -m benchmarks maf --seconds 0.01 --threads 1",
        "gone": "python -m benchmarks maf --seconds 0.02 --threads 1",
    }
    assert missing == []
    assert "This will take about 1 min" in capsys.readouterr().out
    text = (tmp_path / "peers" / "figure.svg").read_text(encoding="utf-8")
    assert rows[0]["cpu"] in text
    before = path.read_text()
    monkeypatch.setattr("sys.argv", ["benchmarks", "maf", "--quick", "--batch", "64", "--threads", "1"])
    monkeypatch.setattr(command.measured, "save", lambda *_: pytest.fail("a quick look writes nothing"))
    command.main()
    assert path.read_text() == before


def test_exponents_are_slopes_and_the_knee_is_where_throughput_ends_to_grow():
    assert growth.exponent([1, 2, 4, 8], [9.0, 12.0, 48.0, 192.0])[0] == 2.0
    assert growth.exponent([1, 2, 4, 8], [3.0, 12.0, 48.0, 192.0]) == (2.0, 0.0)
    assert growth.knee([1, 10, 100, 1000], [1.0, 1.0, 2.0, 20.0]) == 100


def test_the_committed_growth_is_that_of_its_rows():
    record = json.loads((RESULTS / "peers/growth.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(growth.summary(record["rows"]))) == record["exponents"]
    text = (RESULTS / "peers/growth.md").read_text(encoding="utf-8")
    assert text == growth.table(record)
    page = (RESULTS.parents[1] / "docs/results.md").read_text(encoding="utf-8")
    assert f"growth.md -->\n{text.strip()}\n<!-- end -->" in page


def test_a_peer_that_is_not_installed_or_fails_is_named_with_its_reason(monkeypatch):
    def broken():
        raise ValueError("no such layer\nmore")

    made = {"zoo": lambda: {"train": suite.Job(lambda: None)}, "gone": broken, "zuko": broken}
    monkeypatch.setitem(cases.CASES, "maf", (lambda batch: made, (1,)))
    monkeypatch.setitem(cases.PACKAGES, "gone", "no_such_package_of_flows")
    (comparison,) = cases.comparisons("maf", 1)
    assert list(comparison.jobs) == ["zoo"]
    assert comparison.missing == {
        "gone": "ModuleNotFoundError: No module named 'no_such_package_of_flows'",
        "zuko": "ValueError: no such layer",
    }


def test_both_diffusion_samplers_call_networks_of_about_equal_work_as_often():
    pytest.importorskip("denoising_diffusion_pytorch")  # of the extra ``benchmarks``
    made = cases.CASES["diffusion"][0](1)
    work, calls = {}, {}
    for who in ("zoo", "lucidrains"):
        jobs = made[who]()
        work[who] = jobs["sample"].multiplications
        assert jobs["train"].multiplications * 10 == pytest.approx(3 * work[who])
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            jobs["sample"].run()
        calls[who] = counter.get_total_flops() / 2 / work[who]
    assert calls == pytest.approx({"zoo": 1.0, "lucidrains": 1.0}, rel=0.01)
    assert work["zoo"] == pytest.approx(work["lucidrains"], rel=0.15)


def test_both_flow_matching_samplers_evaluate_the_field_equally_often():
    made = cases.CASES["matching"][0](2)
    counts = {}
    for who in ("zoo", "torchdiffeq"):
        job = made[who]()["sample"]
        with FlopCounterMode(display=False) as counter:
            job.run()
        counts[who] = counter.get_total_flops()
    assert counts["zoo"] == counts["torchdiffeq"] > 0


def test_compiled_steps_take_the_compiler_of_training_and_only_where_it_is_asked_for(monkeypatch):
    compiled = []

    def fake(loss, **_):
        compiled.append(loss)
        return loss

    resets = []
    monkeypatch.setattr("zoo.training.compile.torch.compile", fake)
    monkeypatch.setattr("torch.compiler.reset", lambda: resets.append(len(compiled)))
    assert "zoo, compiled" not in cases.comparisons("realnvp", 4, [])[0].jobs
    assert not compiled
    tasks = {made.task: set(made.jobs) for made in cases.comparisons("realnvp", 4, [], compiling=True)}
    assert tasks == {
        "density": {"zoo", "floor", "zoo, compiled"},
        "train": {"zoo", "floor", "zoo, compiled"},
        "sample": {"zoo", "floor"},
    }
    assert (len(compiled), resets) == (2, [0])
    monkeypatch.setattr("zoo.training.compile.torch.compile", lambda loss: lambda x, y: 2 * loss(x, y))
    assert (
        "gradients wrong" in cases.comparisons("realnvp", 4, [], compiling=True)[0].missing["zoo, compiled"]
    )


@pytest.mark.parametrize("name", ["realnvp", "maf"])
def test_peers_do_the_work_of_zoos_model(name):
    made = cases.CASES[name][0](4)
    for who in ("zoo", "nflows", "zuko", "floor"):
        assert set(made[who]()) == {"density", "train", "sample"}
    count = {
        who: sum(p.numel() for p in made[who]()["train"].module.parameters()) for who in ("zoo", "nflows")
    }
    assert count["zoo"] == pytest.approx(count["nflows"], rel=0.01)


def test_a_floor_trains_with_three_products_for_one():
    jobs = cases.floors.products(cases.floors.mlp(3, (5,), 2), 7)
    counts = {}
    for task in ("density", "train"):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            jobs[task].run()
        counts[task] = counter.get_total_flops()
    assert counts == {"density": 2 * 7 * (15 + 10), "train": 3 * 2 * 7 * (15 + 10)}


def test_peers_keep_their_weights_in_evaluation_as_zoo_does():
    linear = pytest.importorskip("nflows.transforms").LULinear(3)
    flow = jobs.Flow(torch.nn.Sequential(linear), lambda x: linear(x)[1], None)
    flow.density(torch.randn(2, 3))()
    assert linear.cache.weight is not None
