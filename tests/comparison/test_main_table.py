"""The main table: kinds and ranks, seeds, conditions of measurement, numbers."""

from __future__ import annotations

import pytest
from fake_records import cells, line, save, show, write

from zoo.comparison.collect import Run, collect
from zoo.comparison.render import latex, markdown, parts
from zoo.comparison.tables import Cell, Footnotes, Row, Table, build, number
from zoo.comparison.tables.cells import deviation
from zoo.comparison.tables.columns import metric_column
from zoo.record import Hardware, Metric, Record, read

pytestmark = pytest.mark.usefixtures("no_figures")


def written(root):
    """Return the tables of the runs below a directory in Markdown."""
    return "\n\n".join(markdown(table) for table in build(collect([root])[0]))


def three(root, model, family, kind="exact", value=1.5, fd=3.0, **settings):
    """Write three seeds of a model, which differ by a hundredth in likelihood and by 3 % in distance."""
    for seed in range(3):
        bits = None if value is None else value + 0.01 * seed
        write(root, model, family, kind, bits, seed, fd=fd * (1 + 0.03 * seed), **settings)


def test_a_value_is_marked_with_its_kind_and_one_seed_has_no_rank(runs):
    text = show([runs])
    assert "1.900 ± 0.012†" in line(text, "realnvp")
    assert "≤ 1.200" in line(text, "vae")
    assert "≈ 1.100" in line(text, "ffjord")
    assert "A gan defines no likelihood" in text
    assert "exact for the dequantised density" in text
    table = written(runs)
    assert "**" not in line(table, "glow")
    assert "one seed has no rank" in table
    assert "letters" not in table
    assert "real data (floor)" in table


def test_the_best_of_each_kind_are_bold_and_have_letters(tmp_path):
    runs = tmp_path / "runs"
    uniform = {"dequantisation": "uniform"}
    three(runs, "realnvp", "flow", value=1.9, details=uniform)
    three(runs, "glow", "flow", value=1.5, details=uniform)
    three(runs, "maf", "flow", value=1.501, details=uniform)
    three(runs, "pixelcnn", "autoregressive", value=1.0)
    three(runs, "gan", "gan", "none", None, fd=1.0, evaluations=1)
    table = written(runs)
    bits = {model: cells(table, model)["bits/dim ↓"] for model in ("realnvp", "glow", "maf", "pixelcnn")}
    assert (bits["glow"], bits["maf"]) == ("**1.510 ± 0.010 [3]† a**", "**1.511 ± 0.010 [3]† a**"), "a tie"
    assert bits["realnvp"] == "1.910 ± 0.010 [3]† b"
    assert bits["pixelcnn"] == "1.010 ± 0.010 [3]", "the only one of its kind has no rival"
    assert cells(table, "gan")["fd/digits-cnn ↓"].startswith("**1.03"), "ranked whatever the family"
    assert cells(table, "gan")["seq. evals ↓"] == "**1**", "counts have no letters"
    assert "letters: configurations that share one cannot be told apart" in table
    table = next(table for table in build(collect([runs])[0]) if "fd/digits-cnn" in table.columns)
    named = {row.name: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}
    assert (named["glow"]["bits/dim"].best, named["glow"]["bits/dim"].sure) == (True, False), "a tie is no"
    assert named["gan"]["fd/digits-cnn"].sure, "significantly better than every other"
    assert named["gan"]["seq. evals"].sure, "a count is known without error"
    assert not named["pixelcnn"]["bits/dim"].sure, "the only one of its kind has no rival"
    assert not any(cell.sure and not cell.best for row in named.values() for cell in row.values())


def test_only_the_configuration_that_stands_for_a_model_is_ranked(tmp_path):
    runs = tmp_path / "runs"
    three(runs, "maf", "flow", fd=3.0)
    three(runs, "glow", "flow", fd=9.0)
    for seed in range(3):
        record = write(runs, "maf", "flow", seed=seed, key="-b", fd=1.0 + 0.01 * seed)
        record.provenance.config = {"seed": seed, "training": {"lr": 0.1}}
        record.provenance.overrides = ["training.lr=0.1"]
        save(runs, record)
    table = written(runs)
    ranked = [row for row in table.splitlines() if row.startswith("| maf") and " a**" in row]
    assert len(ranked) == 1


def test_a_collapsed_model_is_the_fastest_and_never_bold(tmp_path):
    runs = tmp_path / "runs"
    three(runs, "gan", "gan", "none", None, fd=300.0, latency=0.0001)
    three(runs, "glow", "flow", fd=3.0, latency=0.01)
    three(runs, "maf", "flow", fd=3.5, latency=0.02)
    table = written(runs)
    latency = {model: cells(table, model)["latency (ms) ↓"] for model in ("gan", "glow")}
    assert not latency["gan"].startswith("**")


def test_a_row_with_one_collapsed_seed_says_so_and_is_marked_nowhere(tmp_path):
    for seed in range(5):
        noise = 1 + 0.02 * seed
        write(
            tmp_path,
            "vae",
            "vae",
            "none",
            None,
            seed,
            fd=(200.0 if seed == 2 else 3.0) * noise,
            evaluations=1,
        )
        write(
            tmp_path, "glow", "flow", "none", None, seed, fd=4.0 * noise, latency=0.02 * noise, evaluations=2
        )
        write(tmp_path, "maf", "flow", "none", None, seed, fd=9.0 * noise, latency=0.01 * noise)
    table = written(tmp_path)
    vae = cells(table, "vae")
    assert vae["status"] == "5 finished, 1 collapsed²·³", "the first footnote is of the likelihood"
    assert "³ collapsed: 1 of 5 runs (95 % interval 1 to 72 %)" in table
    assert "**" not in line(table, "vae")
    assert not any(text.endswith((" a", " ab", " b")) for text in vae.values())
    assert cells(table, "glow")["fd/digits-cnn ↓"].startswith("**"), "the best of those without"
    (main,) = (table for table in build(collect([tmp_path])[0]) if not table.beside)
    named = {row.name: row.cells[main.columns.index("fd/digits-cnn")] for row in main.rows}
    assert (named["glow"].sure, named["vae"].best) == (True, False)
    assert r"\textbf" not in next(one for one in latex(main).splitlines() if one.startswith("vae"))


def test_the_best_is_not_sure_where_one_is_not_told_apart_from_it(tmp_path):
    for seed, noisy in enumerate((2.0, 16.0, 4.0)):
        for model, fd in (("glow", 3.0), ("maf", noisy), ("nsf", 9.0)):
            write(tmp_path, model, "flow", fd=fd + 0.01 * seed, seed=seed)
    (main,) = (table for table in build(collect([tmp_path])[0]) if not table.beside)
    named = {row.name: row.cells[main.columns.index("fd/digits-cnn")] for row in main.rows}
    assert {name: (cell.letters, cell.best, cell.sure) for name, cell in named.items() if cell.letters} == {
        "glow": ("a", True, False),
        "maf": ("ab", False, False),
        "nsf": ("b", False, False),
    }


def test_the_floor_row_has_the_metrics_of_real_data(runs, tmp_path):
    show([runs], tmp_path / "out")
    floor = cells((tmp_path / "out/table.md").read_text(), "real data")
    assert floor["fd/digits-cnn ↓"] == "0.500 ± 0.050"
    assert {text for heading, text in floor.items() if "fd" not in heading} == {"real data (floor)", ""}


def test_the_floor_is_a_mean_over_runs_of_the_commonest_number_of_samples_with_its_deviation(tmp_path):
    column = metric_column("fd/x", "1", "lower")

    def run(floor, deviation, n=1000):
        details = {"floor": floor, "floor_deviation": deviation}
        metrics = {"fd/x": Metric(3.0, "1", n=n, details=details)}
        about = {"run_id": "r", "model": "maf", "family": "flow", "data": "d", "seed": 0}
        return Run(Record(**about, status="finished", metrics=metrics), tmp_path)

    runs = [run(1.0, 0.2), run(2.0, 0.4), run(9.0, 9.0, n=50)]
    assert column.floor(runs) == pytest.approx((1.5, 0.3))
    assert column.floor(runs[:0]) is None


def test_the_seeds_of_a_configuration_are_one_row_with_their_deviation(tmp_path):
    for seed, value in enumerate((1.0, 1.2, 1.4)):
        write(tmp_path, "maf", "flow", value=value, seed=seed)
    text = show([tmp_path])
    assert "1.20 ± 0.20 [3]" in line(text, "maf")
    assert "standard deviation" in text


def test_the_captions_explain_the_errors_of_seeds_and_of_single_runs(tmp_path):
    for seed in (0, 1):
        write(tmp_path, "maf", "flow", value=1.0 + seed, seed=seed)
    write(tmp_path, "maf", "flow", seed=2, status="diverged")
    write(tmp_path, "glow", "flow")
    text = show([tmp_path])
    assert "2 finished, 1 diverged¹" in line(text, "maf")
    assert "¹ maf-digits-s2 diverged" in text
    assert "standard deviation" in text
    assert "standard error" in text


def test_seeds_whose_kinds_differ_have_no_rank(tmp_path):
    for seed, kind in enumerate(("exact", "estimate")):
        write(tmp_path / "runs", "maf", "flow", kind, value=0.1, seed=seed)
    for model in ("glow", "realnvp"):
        write(tmp_path / "runs", model, "flow", value=1.0)
    show([tmp_path / "runs"], tmp_path / "out")
    table = (tmp_path / "out/table.md").read_text()
    assert cells(table, "maf")["bits/dim ↓"] == "0.1 [2]¹"
    assert "- ¹ the seeds' kinds differ (estimate, exact)" in table


def test_values_under_other_conditions_are_marked_and_not_ranked(runs, tmp_path):
    record = write(runs, "maf", "flow", fd=0.1)
    record.metrics["fd/digits-cnn"].n = 50
    save(runs, record)
    text = show([runs], tmp_path / "out")
    assert "n 50 instead of 1000" in text
    assert cells((tmp_path / "out/table.md").read_text(), "maf")["fd/digits-cnn ↓"] == "0.1¹"


def test_times_of_different_machines_are_not_averaged(tmp_path):
    root = tmp_path / "runs"
    for seed, (latency, device) in enumerate([(0.002, "a card"), (0.004, "a card"), (9.0, "cpu")]):
        record = write(root, "maf", "flow", seed=seed, latency=latency)
        record.sampling.device = device
        record.cost.train_seconds = 1000 * latency
        save(root, record)
    text = show([root], tmp_path / "out")
    assert "without 1 of 3 seeds, measured otherwise: device cpu instead of a card" in text
    row = cells((tmp_path / "out/table.md").read_text(), "maf")
    assert row["latency (ms) ↓"] == row["train (s)"] == "3.0 ± 1.4 [2]¹"
    assert row["fd/digits-cnn ↓"].endswith("[3]"), "what does not depend on the machine has all seeds"


def test_times_that_are_shown_are_those_that_are_tested(tmp_path):
    root = tmp_path / "runs"
    for model in ("maf", "glow"):
        for seed in range(5):
            record = write(root, model, "flow", seed=seed, latency=0.002 if seed < 2 else 9.0)
            record.sampling.session = "quiet" if seed < 2 else None
            save(root, record)
    text = show([root], tmp_path / "out")
    assert "2 [2]¹" in line(text, "maf")
    assert "without 3 of 5 seeds, measured otherwise: timed by each run itself" in " ".join(text.split())
    assert "instead of in turns by zoo time" in " ".join(text.split())


def test_a_latency_shows_its_spread_over_seeds_or_calls(tmp_path):
    def timed(model, seed, seconds, quartiles, repeats):
        record = write(tmp_path / "runs", model, "flow", seed=seed, latency=seconds)
        record.sampling.latency_quartiles, record.sampling.latency_repeats = quartiles, repeats
        save(tmp_path / "runs", record)

    for seed, seconds in enumerate((0.010, 0.012, 0.014)):
        timed("maf", seed, seconds, [seconds] * 2, 9)
    timed("glow", 0, 0.02, [0.018, 0.025], 9)
    timed("vae", 0, 0.03, [0.03, 0.03], 1)
    for seed, repeats in enumerate((1, 4)):
        timed("diffusion", seed, 2.0 + seed, [2.0, 2.0], repeats)
    text = show([tmp_path / "runs"])
    assert "12.0 ± 2.0 [3]" in line(text, "maf")
    assert "20 (18 to 25)" in line(text, "glow")
    assert "30 (n=1)" in line(text, "vae")
    assert "[2]¹" in line(text, "diffusion")
    assert "¹ calls timed in each run: 1 to 4" in text
    assert "latency of one run: the median of its calls, their quartiles in parentheses" in text


@pytest.mark.parametrize("other", ["cpu", "compiled"])
def test_speeds_of_other_processors_and_of_compiled_code_are_not_ranked(tmp_path, other):
    root = tmp_path / "runs"
    for model in ("maf", "glow", "vae"):
        record = write(root, model, "flow", latency=0.001 if model == "vae" else 0.01)
        record.sampling.compiled = model == "vae" and other == "compiled"
        cpu = "slow" if model == "vae" and other == "cpu" else "usual"
        record.provenance.hardware = Hardware(cpu=cpu)
        save(root, record)
    text = show([root], tmp_path / "out")
    assert {"cpu": "cpu slow instead of usual", "compiled": "compiled True instead of False"}[other] in text
    latency = cells((tmp_path / "out/table.md").read_text(), "vae")["latency (ms) ↓"]
    assert latency.startswith("1"), "the fastest is not in bold"


def test_the_cost_of_runs_that_did_not_finish_is_shown(tmp_path):
    write(tmp_path / "runs", "glow", "flow", status="diverged")
    write(tmp_path / "runs", "maf", "flow")
    show([tmp_path / "runs"], tmp_path / "out")
    row = cells((tmp_path / "out/table.md").read_text(), "glow")
    assert (row["params"], row["updates"], row["train (s)"]) == ("125,088", "1,000", "20")
    assert row["latency (ms) ↓"] == row["bits/dim ↓"] == "—"


def test_a_metric_without_a_direction_is_not_a_column(runs, tmp_path):
    record = write(runs, "maf", "flow")
    record.metrics["active_units"] = Metric(7.0, "1", direction="none")
    save(runs, record)
    show([runs], tmp_path / "out")
    assert "active" not in (tmp_path / "out/table.md").read_text(), "of the main table and of the details"


def test_a_ratio_is_best_nearest_to_one(tmp_path):
    for model, sharpness in {"maf": 0.5, "glow": 1.9, "vae": 0.3}.items():
        for seed in range(3):
            record = write(tmp_path / "runs", model, "flow", seed=seed)
            record.metrics["sharpness"] = Metric(sharpness * (1 + 0.001 * seed), "1", direction="one", n=1000)
            save(tmp_path / "runs", record)
    table = written(tmp_path / "runs")
    assert cells(table, "glow")["sharpness →1"].endswith("a**"), "1.9 times is nearer than half"
    assert cells(table, "maf")["sharpness →1"].endswith(" b")


def test_details_of_samples_are_in_a_second_table(runs, tmp_path):
    for directory in runs.iterdir():
        record = read(directory)
        for name in ("kid/x", "precision/x", "recall/x", "sharpness/spectrum"):
            record.metrics[name] = Metric(0.5, "1", details={"floor": 0.1})
        record.write(directory)
    text = show([runs], tmp_path / "out")
    assert "kid/x" not in text, "the terminal has the main table"
    main, details = (tmp_path / "out/table.md").read_text().split("**digits: samples in detail**")
    summary = (tmp_path / "out/summary.md").read_text()
    assert summary.strip() == main.strip(), "the summary leaves out what stands beside"
    assert "kid/x" not in main
    assert "| model | family | kid/x ↓ | precision/x ↓ | recall/x ↓ | spectrum ↓ | status |" in details
    assert "real data (floor)" in details


def test_no_model_is_best_after_very_few_updates(tmp_path):
    root = tmp_path / "runs"
    for model, updates in {"maf": 5, "glow": 7}.items():
        for seed in range(3):
            record = write(root, model, "flow", value=1.0 + updates + 0.01 * seed, seed=seed)
            record.cost.updates = updates
            save(root, record)
    table = written(root)
    assert "- trained for 5 to 7 updates: a measurement of speed, not of quality" in table
    assert "**" not in line(table, "maf") + line(table, "glow")
    write(root, "vae", "vae")
    table = written(root)
    assert "measurement of speed" not in table
    assert "**" in line(table, "maf")


def test_protocols_never_share_a_table(runs):
    record = write(runs, "maf", "flow")
    record.provenance.protocol_hash = "another"
    save(runs, record)
    text = show([runs])
    assert "protocol p-digits" in text
    assert "protocol another" in text
    assert "digits was judged under 2 protocols" in text


def test_footnotes_are_numbered_in_the_order_of_their_first_mark():
    notes = Footnotes()
    marks = [notes.mark(sentence) for sentence in ("one", "two", "one", "three\nlines")]
    assert marks == ["¹", "²", "¹", "³"]
    assert notes.lines() == ["¹ one", "² two", "³ three lines"]
    assert [notes.mark(str(index)) for index in range(7)][-1] == "¹⁰"


def test_a_footnote_stands_below_a_cell_that_has_its_whole_number():
    twelfth, first_and_second = Cell("1"), Cell("2")
    twelfth.refer("¹²")
    for mark in ("¹", "²", "¹"):
        first_and_second.refer(mark)
    assert (twelfth.shown, first_and_second.shown) == ("1¹²", "2¹·²")
    rows = [
        Row(name, "flow", [cell], [run], variant=variant)
        for name, cell, run, variant in [
            ("maf", twelfth, "a", ""),
            ("glow", Cell("3"), "b", ""),
            ("maf wide", first_and_second, "c", "maf"),
        ]
    ]
    notes = ["a caption", "¹ one", "² two", "¹² twelve"]
    main, others = parts(Table("digits", ["status"], ["none"], rows, notes))
    assert (main.notes, others.notes) == (["a caption", "¹² twelve"], ["¹ one", "² two"])


def test_the_deviation_has_n_minus_1_in_its_denominator():
    assert deviation([1.0, 2.0, 3.0]) == pytest.approx(1.0)


def test_numbers_have_the_digits_that_their_error_allows():
    assert number(0.0004) == "0.0004"
    assert number(-17.73) == "-17.73"
    assert number(1.23456, 0.012) == "1.235 ± 0.012"
    assert number(float("nan")) == "not finite"
    assert number(0.0) == "0"
    assert number(3.2e7, 1.5e6) == "32,000,000 ± 2,000,000"
