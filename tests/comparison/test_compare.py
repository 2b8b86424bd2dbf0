"""The comparison: kinds, ranks, seeds, failures, and pages that fetch nothing."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fake_records import GAN_REASON, NINE, nine, write
from rich.console import Console

from zoo.comparison import compare, figures, pack, render
from zoo.comparison.collect import Run, collect
from zoo.comparison.studies import named
from zoo.comparison.table import build, number
from zoo.errors import ZooError
from zoo.record import Metric, read


@pytest.fixture
def runs(tmp_path):
    root = tmp_path / "runs"
    uniform = {"dequantisation": "uniform"}
    write(root, "realnvp", "flow", value=1.9, details=uniform)
    write(root, "glow", "flow", value=1.8, details=uniform)
    write(root, "pixelcnn", "autoregressive", value=1.4)
    write(root, "vae", "vae", "lower bound", value=1.2)
    write(root, "ffjord", "continuous flow", "estimate", value=1.1)
    write(root, "gan", "gan", "none", value=None, fd=1.0)
    return root


def show(paths, out=None, **settings):
    console = Console(file=io.StringIO(), width=220)
    compare(paths, out, console=console, **settings)
    return console.file.getvalue()


def line(text, model):
    return next(row for row in text.splitlines() if re.search(rf"\b{model}\b", row))


def test_marks_and_ranks_within_a_kind(runs, tmp_path):
    text = show([runs], tmp_path / "out")
    assert "1.900 ± 0.012†" in line(text, "realnvp")
    assert "≤ 1.200" in line(text, "vae")
    assert "≈ 1.100" in line(text, "ffjord")
    assert "A gan defines no likelihood" in text
    assert "exact for the dequantised density" in text
    table = (tmp_path / "out/table.md").read_text()
    assert "**1.800 ± 0.012†**" in line(table, "glow")
    assert "**" not in line(table, "pixelcnn").split("|")[3], "alone of its kind: there is nobody to beat"
    assert "**≤" not in table
    assert "| **1** |" in line(table, "gan"), "samples are judged alike, whatever the family"
    assert "real data (floor)" in table


def test_seeds_become_one_row(tmp_path):
    for seed, value in enumerate((1.0, 1.2, 1.4)):
        write(tmp_path, "maf", "flow", value=value, seed=seed)
    text = show([tmp_path])
    assert "1.20 ± 0.20 [3]" in line(text, "maf")
    assert "standard deviation" in text


def test_seeds_and_single_runs_say_which_error_they_show(tmp_path):
    for seed in (0, 1):
        write(tmp_path, "maf", "flow", value=1.0 + seed, seed=seed)
    write(tmp_path, "maf", "flow", seed=2, status="diverged")
    write(tmp_path, "glow", "flow")
    text = show([tmp_path])
    assert "2 finished, 1 diverged¹" in line(text, "maf")
    assert "¹ maf-digits-s2 diverged" in text
    assert "standard deviation" in text
    assert "standard error" in text


def test_nine_models(tmp_path):
    nine(tmp_path / "runs")
    text = show([tmp_path / "runs"], tmp_path / "out")
    assert "—¹" in line(text, "gan")
    assert f"¹ {GAN_REASON}" in text
    table = (tmp_path / "out/table.md").read_text()
    best = {model for model in NINE if line(table, model).split("|")[3].strip().startswith("**")}
    assert best == {"realnvp", "flow_matching"}, "of the dequantised flows, and of the estimates"


def test_values_measured_otherwise_are_flagged_and_not_ranked(runs, tmp_path):
    odd = write(runs, "maf", "flow", fd=0.1)
    odd.metrics["fd/digits-cnn"].n = 50
    odd.write(runs / odd.run_id)
    text = show([runs], tmp_path / "out")
    assert "n 50 instead of 1000" in text
    cells = line((tmp_path / "out/table.md").read_text(), "maf").split("|")
    assert cells[4].strip() == "0.1¹"


def test_times_of_unlike_machines_have_no_mean(tmp_path):
    for seed, (latency, device) in enumerate([(0.002, "a card"), (0.004, "a card"), (9.0, "cpu")]):
        record = write(tmp_path / "runs", "maf", "flow", seed=seed, latency=latency)
        record.sampling["device"] = device
        record.cost["train_seconds"] = 1000 * latency
        record.write(tmp_path / "runs" / record.run_id)
    text = show([tmp_path / "runs"], tmp_path / "out")
    assert "without 1 of 3 seeds, measured otherwise: device cpu instead of a card" in text
    cells = [c.strip() for c in line((tmp_path / "out/table.md").read_text(), "maf").split("|")]
    assert "3.0 ± 1.4 [2]¹" in cells
    assert cells.count("3.0 ± 1.4 [2]¹") == 2, "of the latency in ms, and of the seconds of training"
    assert any("[3]" in cell for cell in cells), "what does not depend on the machine has all seeds"


def test_timings_show_what_they_vary_by(tmp_path):
    """Over seeds their deviation; of one run the quartiles of its calls, or that there was one."""

    def timed(model, seed, **sampling):
        record = write(tmp_path / "runs", model, "flow", seed=seed)
        record.sampling |= sampling
        record.write(tmp_path / "runs" / record.run_id)

    for seed, seconds in enumerate((0.010, 0.012, 0.014)):
        timed("maf", seed, latency_seconds=seconds, latency_quartiles=[seconds] * 2, latency_repeats=9)
    timed("glow", 0, latency_seconds=0.02, latency_quartiles=[0.018, 0.025], latency_repeats=9)
    timed("vae", 0, latency_seconds=0.03, latency_quartiles=[0.03, 0.03], latency_repeats=1)
    for seed, repeats in enumerate((1, 4)):
        timed("diffusion", seed, latency_seconds=2 + seed, latency_quartiles=[2] * 2, latency_repeats=repeats)
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
        record = write(root, model, "flow")
        record.sampling |= {"device": "cpu", "latency_seconds": 0.001 if model == "vae" else 0.01}
        record.sampling["compiled"] = model == "vae" and other == "compiled"
        cpu = "slow" if model == "vae" and other == "cpu" else "usual"
        record.provenance["hardware"] = {"cpu": cpu}
        record.write(root / record.run_id)
    text = show([root], tmp_path / "out")
    assert {"cpu": "cpu slow instead of usual", "compiled": "compiled True instead of False"}[other] in text
    assert "**1" not in line((tmp_path / "out/table.md").read_text(), "vae").split("|")[5]


def test_a_diagnostic_is_no_column(runs):
    record = write(runs, "maf", "flow")
    record.metrics["active_units"] = Metric(7.0, "1", direction="none")
    record.write(runs / record.run_id)
    assert "active" not in show([runs])


def test_the_nearest_to_one_is_best(tmp_path):
    for model, sharpness in {"maf": 0.5, "glow": 1.9, "vae": 0.3}.items():
        record = write(tmp_path / "runs", model, "flow")
        record.metrics["sharpness"] = Metric(sharpness, "1", direction="one", n=1000)
        record.write(tmp_path / "runs" / record.run_id)
    show([tmp_path / "runs"], tmp_path / "out")
    table = (tmp_path / "out/table.md").read_text()
    assert "sharpness →1" in table
    assert "**1.9**" in line(table, "glow"), "1.9 times is nearer than half"
    assert "**" not in line(table, "maf").split("|")[5]


def test_details_of_samples_have_a_table_of_their_own(runs, tmp_path):
    for directory in runs.iterdir():
        record = read(directory)
        for name in ("kid/x", "precision/x", "recall/x", "sharpness/spectrum"):
            record.metrics[name] = Metric(0.5, "1", details={"floor": 0.1})
        record.write(directory)
    text = show([runs], tmp_path / "out")
    assert "kid/x" not in text, "the terminal has the main table"
    main, details = (tmp_path / "out/table.md").read_text().split("**digits: samples in detail**")
    summary = (tmp_path / "out/summary.md").read_text()
    assert summary.strip() == main.strip(), "without what stands beside"
    assert "kid/x" not in main
    assert "| model | family | kid/x ↓ | precision/x ↓ | recall/x ↓ | spectrum ↓ | status |" in details
    assert "real data (floor)" in details


def test_configurations_are_named_by_what_sets_them_apart(tmp_path):
    for key, settings in {
        "": {"ema": 0.9, "lr": 1},
        "-a": {"ema": 0, "lr": 1},
        "-b": {"ema": 0.9, "lr": 2},
    }.items():
        record = write(tmp_path, "gan", "gan", key=key)
        record.provenance["config"] |= {"training": settings}
        record.write(tmp_path / record.run_id)
    text = show([tmp_path])
    assert [name in text for name in ("gan (ema 0) ", "gan (lr 2) ", "gan  ")] == [True] * 3


def test_figures_call_configurations_as_the_tables_do(tmp_path):
    for key, rate in {"": 1, "-b": 2}.items():
        for seed in (0, 1):
            record = write(tmp_path, "gan", "gan", key=key, seed=seed)
            record.provenance["config"] |= {"training": {"lr": rate}}
            record.write(tmp_path / record.run_id)
    names = {"gan", "gan (lr 2)"}
    assert all(name + " " in show([tmp_path]) for name in names)
    runs = named(collect([tmp_path])[0])
    tiles = {axis.get_title().strip() for axis in figures._samples(runs).axes}
    assert names < tiles
    assert names == {text.get_text() for text in figures._scatter(runs).axes[0].texts} - {"real data, 0.5"}


def test_sampling_against_batch(tmp_path):
    for seed, latency in enumerate((0.1, 0.2, 0.9)):
        record = write(tmp_path, "ffjord", "continuous flow", seed=seed, latency=latency, evaluations=20)
        record.sampling |= {"throughput_by_batch": {"16": 16.0, "64": 32.0},
                            "sequential_evaluations_by_batch": {"16": 30 + seed, "64": 40}}  # fmt: skip
        record.write(tmp_path / record.run_id)
    before = write(tmp_path, "vae", "vae", latency=0.5, evaluations=1)
    before.sampling["throughput_by_batch"] = {"16": 32.0}
    before.write(tmp_path / before.run_id)
    write(tmp_path, "glow", "flow")  # latency alone is no curve
    out = tmp_path / "out"
    show([tmp_path], out)
    assert "Sampling against batch" in (out / "index.html").read_text()
    assert all((out / f"sampling_vs_batch.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))
    seconds, depth, beside = figures._batches(collect([tmp_path])[0]).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in seconds.lines}
    assert lines == {"ffjord": [[1, 0.2], [16, 1], [64, 2]], "vae": [[1, 0.5], [16, 0.5]]}
    lines = {line.get_label(): line.get_xydata().tolist() for line in depth.lines}
    assert lines == {"ffjord": [[1, 20], [16, 31], [64, 40]]}, "a record of before has no such line"
    assert seconds.get_xscale() == seconds.get_yscale() == depth.get_yscale() == "log"
    assert len(beside.get_legend().get_texts()) == 2


def test_a_single_point_is_no_learning_curve(tmp_path):
    for model in ("maf", "glow"):
        write(tmp_path, model, "flow")
    write(tmp_path, "gan", "gan", "none", value=None)
    for model in ("glow", "gan"):
        file = tmp_path / f"{model}-digits-s0/curves.csv"
        file.write_text("\n".join(file.read_text().splitlines()[:2]) + "\n")
    runs, _ = collect([tmp_path])
    panels = [axis for axis in figures._curves(runs).axes if axis.lines]
    assert [axis.get_title() for axis in figures._curves(runs).axes] == ["validation bits/dim"]
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["maf"]
    assert figures._curves([run for run in runs if run.record.model != "maf"]) is None


def test_a_handful_of_updates_crowns_nobody(tmp_path):
    for model, updates in {"maf": 5, "glow": 7}.items():
        record = write(tmp_path / "runs", model, "flow", value=1.0 + updates)
        record.cost["updates"] = updates
        record.write(tmp_path / "runs" / record.run_id)
    show([tmp_path / "runs"], tmp_path / "out")
    table = (tmp_path / "out/table.md").read_text()
    assert "- trained for 5 to 7 updates: a measurement of speed, not of quality" in table
    assert "**" not in line(table, "maf") + line(table, "glow")
    assert "bold" not in table
    write(tmp_path / "runs", "vae", "vae")
    show([tmp_path / "runs"], tmp_path / "out")
    table = (tmp_path / "out/table.md").read_text()
    assert "measurement of speed" not in table
    assert "**" in line(table, "maf")


def test_wide_tables_wrap_and_show_that_they_scroll(runs, tmp_path):
    show([runs], tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert re.search(r"\.scroll\{overflow-x:auto", page)
    assert re.search(r"\.scroll::-webkit-scrollbar\{height:", page), "a bar that stays in sight"
    assert "td:first-child{white-space:normal" in page, "long names of configurations take several lines"


def test_stability(tmp_path):
    root = tmp_path / "runs"
    for model, values in {"maf": (1.0, 1.2, 1.4), "glow": (2.0, 2.0, 2.0)}.items():
        for seed, value in enumerate(values):
            record = write(root, model, "flow", value=value, seed=seed, fd=2 * value)
            record.stability = {"loss_spikes": seed, "gradient_spikes": 0, "non_finite_steps": 0,
                                "updates_watched": 1000, "oscillation": 0.25}  # fmt: skip
            record.metrics["nll"] = Metric(value * 44, "nats", "exact", n=4)
            record.write(root / record.run_id)
            indices, values_of = np.arange(4), -44 * value + np.array([1.0, -1.0, 2.0, -2.0])
            np.savez(
                root / record.run_id / "likelihood.npz", values=values_of.astype(np.float32), indices=indices
            )
    write(root, "maf", "flow", seed=3, status="diverged")
    write(root, "vae", "vae")
    show([root], tmp_path / "out")
    table = (tmp_path / "out/table.md").read_text().split("**digits: stability**")[1]
    assert "| 3 of 4 | 17 % [3] | 17 % [3] | 1 | 0 | 0 | 0.25 |" in line(table, "maf")
    assert "best of its kind" in line(table, "maf")
    assert "0 % [3]" in line(table, "glow")
    assert "35.2" in line(table, "glow"), "nats, paired by example"
    assert "| n=1 | n=1 |" in line(table, "vae")
    assert "learning rates" not in table
    assert "(n=1)" in (tmp_path / "out/table.md").read_text()


def test_invertibility_has_a_table_of_its_own_for_flows(tmp_path):
    root = tmp_path / "runs"
    for seed, error in enumerate((2e-5, 3e-5)):
        record = write(root, "maf", "flow", seed=seed)
        record.metrics["invertibility/float32"] = Metric(error, "levels", direction="none")
        record.metrics["log_det_error"] = Metric(None, "nats", direction="none", reason="Too large.")
        record.write(root / record.run_id)
    record = write(root, "ffjord", "continuous flow", "estimate")
    record.metrics["invertibility/float32"] = Metric(0.5, "levels", direction="none")
    estimated = {"estimator_deviation_nats": 4.75, "looser": "half the steps", "looser_change_nats": -0.25}
    record.metrics["nll"] = Metric(80.0, "nats", "estimate", details=estimated)
    record.write(root / record.run_id)
    write(root, "vae", "vae", "lower bound")
    assert "float32" not in show([root], tmp_path / "out"), "the terminal has the main table"
    main, table = (tmp_path / "out/table.md").read_text().split("**digits: invertibility**")
    assert "float32" not in main
    heads = (
        "| error, float32 | log-det error (nats) | sd of estimate (nats) | change, looser (nats) | status |"
    )
    assert heads in table, "what nobody has is left out"
    assert "| 3e-05 | —¹ | — | — | 2 finished |" in line(table, "maf")
    assert "| 0.5 | — | 4.8 | -0.25² | finished |" in line(table, "ffjord")
    assert "¹ Too large." in table
    assert "² half the steps" in table
    assert "vae" not in table
    assert "**" not in table, "nothing is ranked"
    assert "invertibility" in (tmp_path / "out/index.html").read_text()


def test_the_spread_over_learning_rates(tmp_path):
    def run(model, rate, fd):
        record = write(tmp_path / "runs", model, "flow", fd=fd, key=f"-{rate}", seed=0)
        record.provenance["config"] |= {"training": {"lr": rate}}
        record.write(tmp_path / "runs" / record.run_id)

    for index, rate in enumerate((0.001, 0.01, 0.1)):
        run("maf", rate, math.e**index)
        run("realnvp", rate, math.e ** (2 * index))
        write(tmp_path / "runs", "glow", "flow", seed=index)
    run("realnvp", 1, 1e6)  # a rate that the others were not run at
    show([tmp_path / "runs"], tmp_path / "out")
    table = (tmp_path / "out/table.md").read_text().split("**digits: stability**")[1]
    assert "1 [1]¹" in line(table, "maf"), "of logarithms 0, 1, 2"
    assert "2 [1]¹" in line(table, "realnvp"), "of the same rates"
    assert "¹ at learning rates 0.001, 0.01, 0.1" in table


def test_failures_are_rows(runs):
    write(runs, "maf", "flow", status="diverged")
    text = show([runs])
    assert "diverged" in line(text, "maf")
    assert "diverged: Training diverged at update 3: train/loss is nan." in text
    assert "≤" in line(text, "vae")


def test_protocols_never_share_a_table(runs):
    other = write(runs, "maf", "flow")
    other.provenance["protocol_hash"] = "another"
    other.write(runs / other.run_id)
    text = show([runs])
    assert "protocol p-digits" in text
    assert "protocol another" in text
    assert "digits was judged under 2 protocols" in text


def test_damaged_record_is_a_warning(runs):
    (runs / "broken").mkdir()
    (runs / "broken/record.json").write_text("{")
    odd = write(runs, "odd", "flow")
    odd.model = 5
    odd.write(runs / odd.run_id)
    text = show([runs])
    assert text.count("warning: The record") == 2
    assert "broken/record.json" in text


@pytest.mark.parametrize(
    "place",
    ["sampling.latency_seconds", "sampling.latency_quartiles", "cost.parameters", "provenance.config",
     "provenance.data", "provenance.hardware", "stability", "metrics.n", "metrics.direction", "metrics.kind"],
)  # fmt: skip
def test_a_word_in_the_place_of_a_number_is_a_warning(runs, place):
    odd = write(runs, "odd", "flow")
    room, _, name = place.partition(".")
    if room == "metrics":
        setattr(odd.metrics["bits_per_dim"], name, 5 if name == "kind" else "many")
    elif name:
        getattr(odd, room)[name] = "fast"
    else:
        setattr(odd, room, "x")
    odd.write(runs / odd.run_id)
    text = show([runs])
    assert f"warning: The record {runs / odd.run_id}" in text.replace("\n", "")


def test_nothing_to_compare(tmp_path):
    with pytest.raises(ZooError, match="no directory"):
        show([tmp_path / "nowhere"])
    with pytest.raises(ZooError, match="no readable record"):
        show([tmp_path])


def test_files(runs, tmp_path):
    write(runs, "<script>alert(1)</script>_&%", "flow")
    out = tmp_path / "out"
    show([runs], out)
    page = (out / "index.html").read_text()
    assert "<script>alert" not in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert page.count("data:image/png;base64") == 1
    assert page.count("<svg") == 2
    assert "Failures" not in page
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert float(next(r for r in rows if r["model"] == "vae" and r["column"] == "bits/dim")["value"]) == 1.2
    tex = (out / "table.tex").read_text()
    assert r"\_\&\%" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1
    for name in ("samples.png", "curves.svg", "speed_vs_quality.png"):
        assert (out / name).stat().st_size > 1000


def test_unchanged_inputs_are_not_drawn_again_and_an_archive_stands_alone(runs, tmp_path):
    out = tmp_path / "out"
    text = show([runs], out, archive=True)
    before = (out / "index.html").stat().st_mtime_ns
    show([runs], out)
    assert (out / "index.html").stat().st_mtime_ns == before
    write(runs, "maf", "flow")
    show([runs], out)
    assert (out / "index.html").stat().st_mtime_ns != before
    table = text.partition("page:")[0]
    assert show([out / "records"]) == show([out]) == table
    assert show([out], out, archive=True).partition("page:")[0] == table, "an archive is compared in place"
    assert "is of an earlier comparison" in show([runs / "vae-digits-s0"], out, archive=True)


def test_an_archive_holds_what_a_figure_can_show_of_a_long_curve(tmp_path):
    file = tmp_path / "curves.csv"
    rows = [f"{i},{i / 2},{i if i % 777 == 0 else ''}" for i in range(1, 5001)]
    file.write_text("\n".join(["updates,train/loss,val/loss", *rows]) + "\n")
    thin = pack(file)
    kept = list(csv.DictReader(io.StringIO(thin.decode())))
    assert 250 <= len(kept) <= 270
    assert [row["val/loss"] for row in kept if row["val/loss"]] == [str(777 * k) for k in range(1, 7)]
    assert kept[-1]["updates"] == "5000"
    assert {f"{r['updates']},{r['train/loss']},{r['val/loss']}" for r in kept} <= set(rows)
    for every in (777, 25):
        rows = [f"{i},{i / 2},{i if i % every == 0 else ''}" for i in range(1, 10_001)]
        file.write_text("\n".join(["updates,train/loss,val/loss", *rows]) + "\n")
        thin = pack(file)
        file.write_bytes(thin)
        assert pack(file) == thin, "the same for ever"
    for few in ("", "updates,val/loss\n", "updates,val/loss\n1,2\n3"):
        file.write_text(few)
        assert pack(file).decode() == few


def test_hostile_names(tmp_path):
    record = write(tmp_path / "runs", "$x_{", "flow")
    record.run_id = "../../escaped"
    record.reason = "two\nlines <b>"
    record.write(tmp_path / "runs/a")
    show([tmp_path / "runs"], tmp_path / "out", archive=True)
    assert not list(tmp_path.parent.glob("escaped"))
    assert not (tmp_path / "escaped").exists()
    assert all(not row or row.startswith(("%", "\\")) or "&" in row
               for row in (tmp_path / "out/table.tex").read_text().splitlines())  # fmt: skip


def test_failures_and_two_data_sets_on_the_page(runs, tmp_path):
    write(runs, "maf", "flow", status="failed")
    nine(runs, data="moons")
    show([runs], tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert "<h2>Failures</h2>" in page
    assert page.count("<table>") == 2
    assert "NLL (nats)" in page
    assert page.index('<h2 id="moons">') < page.index('<h2 id="digits">'), "the most runs come first"
    links = re.findall(r'<a href="#([^"]+)">', page)
    assert {"digits", "moons", "curves", "provenance"} <= set(links)
    assert all(re.search(rf'id="?{re.escape(name)}["> ]', page) for name in links)


def test_provenance_says_once_what_all_runs_share(runs, tmp_path):
    for seed in (0, 1):
        record = write(tmp_path / "more", "maf", "flow", seed=seed)
        record.provenance["config"] |= {"training": {"lr": 0.1, "updates": 7 + seed}, "empty": {}}
        record.write(tmp_path / "more" / record.run_id)
    show([tmp_path / "more"], tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    shared, *own = (json.loads(html.unescape(t)) for t in re.findall(r"<pre>(.*?)</pre>", page))
    assert shared["config"]["training"] == {"lr": 0.1}
    assert shared["versions"] == {"zoo": "0.1.0"}
    assert [o["config"]["training"] for o in own] == [{"updates": 7}, {"updates": 8}]
    assert all("versions" not in o and "cost" not in o for o in own)
    assert "shared by all 2 runs" in page


def test_very_many_runs_fit_the_terminal_and_the_figures(tmp_path, monkeypatch):
    for name, value in (("PANELS", 3), ("LINES", 4), ("NAMES", 2)):
        monkeypatch.setattr(figures, name, value)
    monkeypatch.setattr(render, "ROWS", 4)
    for index in range(6):
        for model in ("glow", "maf"):
            write(tmp_path / "runs", model, "flow", value=2 + index / 9, fd=1.0 + index, key=f"-{index}")
    runs, _ = collect([tmp_path / "runs"])
    assert len(figures._few(runs, 12)) == 12
    assert [run.record.model for run in figures._few(runs, 4)] == ["glow", "maf"]
    best = figures._best(figures._points(runs, "fd/digits-cnn"))
    assert [(point.model, point.distance) for point in best] == [("glow", 1.0), ("maf", 1.0)]
    text = show([tmp_path / "runs"], tmp_path / "out")
    assert "and 9 more rows" in text  # the floor is one
    assert len((tmp_path / "out/table.md").read_text().splitlines()) > 12


def test_numbers():
    assert number(0.0004) == "0.0004"
    assert number(-17.73) == "-17.73"
    assert number(1.23456, 0.012) == "1.235 ± 0.012"
    assert number(float("nan")) == "not finite"
    assert number(0.0) == "0"
    assert number(3.2e7, 1.5e6) == "3.2e+07 ± 2e+06"


def test_no_torch(runs):
    command = f"from zoo.cli import main; main(['compare', {str(runs)!r}])"
    code = f"import sys; {command}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")


@pytest.mark.parametrize("values", [(0.05, 0.3), (0.3, 0.05)])
def test_the_nearest_configuration_is_the_density_drawn(tmp_path, values):
    for width, value in enumerate(values):
        record = write(tmp_path, "maf", "flow", value=value, key=f"-{width}", data="rings")
        record.metrics["kl"] = Metric(value, "nats", "exact", n=100)
        record.write(tmp_path / record.run_id)
        grid = np.ones((8, 8), np.float16)
        np.savez(tmp_path / record.run_id / "density.npz", density=grid, data=grid, extent=np.zeros(4))
    found, _ = collect([tmp_path])
    assert len(found) == 2
    labels = [axis.get_xlabel() for axis in figures._densities(found).axes]
    assert labels == ["", "0.050"]


def test_the_least_of_several_configurations_is_told_as_such(tmp_path):
    for key, seeds in {"-a": (0.3, 0.5), "-b": (0.1, 0.3)}.items():
        for seed, value in enumerate(seeds):
            record = write(tmp_path, "maf", "flow", seed=seed, key=key, data="rings")
            record.metrics["kl"] = Metric(value, "nats", "exact", n=100)
            record.write(tmp_path / record.run_id)
    record = write(tmp_path, "maf", "flow", data="moons")
    record.metrics["kl"] = Metric(0.2, "nats", "exact", n=100)
    record.write(tmp_path / record.run_id)
    overview = build(collect([tmp_path])[0])[0]
    assert [cell.shown for cell in overview.rows[0].cells][:2] == ["0.2", "0.20 ± 0.14 [2]¹"]
    assert "¹ the least of several configurations, so not ranked" in overview.notes


def toy(directory, model, family, value, key="", seed=0, direction="lower", **changes):
    """A run on the rings with a divergence (its direction "none": a rate)."""
    record = write(directory, model, family, seed=seed, key=key, data="rings")
    record.metrics["kl"] = Metric(value, "nats", "exact", direction=direction, n=100)
    record.provenance |= changes
    record.write(directory / record.run_id)
    return record


def overview(directory):
    record = write(directory, "maf", "flow", data="moons")
    record.metrics["kl"] = Metric(0.2, "nats", "exact", n=100)
    record.write(directory / record.run_id)
    return {row.name: row.cells[1].shown for row in build(collect([directory])[0])[0].rows}


def test_the_overview_pools_no_protocols_and_takes_no_rate_for_a_divergence(tmp_path):
    toy(tmp_path, "maf", "flow", 0.1, protocol_hash="one")
    other = toy(tmp_path / "other", "maf", "flow", 0.5, protocol_hash="two")
    other.run_id += "-other"
    other.write(tmp_path / "other" / other.run_id)
    shutil.rmtree(tmp_path / "other" / other.run_id.removesuffix("-other"))
    toy(tmp_path, "vae", "vae", 0.4, key="new")
    toy(tmp_path, "vae", "vae", 0.01, key="old", direction="none")
    shown = overview(tmp_path)
    assert shown["maf"] == "0.1¹"
    assert shown["vae"] == "0.4"


def test_table_and_picture_agree_on_the_nearest_configuration(tmp_path):
    for key, values in {"-a": (0.05, 0.9), "-b": (0.2, 0.2)}.items():
        for seed, value in enumerate(values):
            record = toy(tmp_path, "maf", "flow", value, key=key, seed=seed)
            grid = np.ones((8, 8), np.float16)
            np.savez(tmp_path / record.run_id / "density.npz", density=grid, data=grid, extent=np.zeros(4))
    labels = [axis.get_xlabel() for axis in figures._densities(collect([tmp_path])[0]).axes]
    assert labels == ["", "0.200"]
    assert overview(tmp_path)["maf"].startswith("0.2")


def test_divergences_gather_the_toys(tmp_path):
    for data, values in {"moons": (0.05, 0.3), "rings": (0.4, 0.2)}.items():
        for model, value in zip(("maf", "realnvp"), values, strict=True):
            record = write(tmp_path / "runs", model, "flow", value=value + 2, data=data)
            record.metrics["kl"] = Metric(value, "nats", "exact", standard_error=0.01, n=100)
            directory = tmp_path / "runs" / record.run_id
            record.write(directory)
            grid = np.random.default_rng(0).random((8, 8)).astype(np.float16)
            np.savez(directory / "density.npz", density=grid, data=grid, extent=np.zeros(4, np.float32))
    write(tmp_path / "runs", "vae", "vae", data="moons", status="diverged")
    text = show([tmp_path / "runs"], tmp_path / "out", archive=True)
    first = text.split("Divergence from")[1].split("moons (")[0]
    assert re.search(r"maf .* 0\.050 ± 0\.010 .* 0\.400 ± 0\.010", first)
    table = (tmp_path / "out/table.md").read_text().split("\n\n**")[0]
    assert "| **0.050 ± 0.010** | 0.400 ± 0.010 |" in line(table, "maf")
    assert "| 0.300 ± 0.010 | **0.200 ± 0.010** |" in line(table, "realnvp")
    assert (tmp_path / "out/densities.png").exists()
    archived = tmp_path / f"out/records/{record.run_id}/density.npz"
    np.testing.assert_array_equal(np.load(archived)["density"], grid)
    assert archived.stat().st_size < (directory / "density.npz").stat().st_size
    assert pack(archived) == archived.read_bytes(), "packed once, the same for ever"
    whole = archived.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:-200], whole[:middle] + bytes(20) + whole[middle + 20 :]):
        archived.write_bytes(damaged)
        assert pack(archived) == damaged, "a damaged file is copied as it is"
    assert Run(record, archived.parent).arrays("density.npz") is None
    shutil.copy(directory / "density.npz", archived)
    again = show([tmp_path / "out/records"], tmp_path / "again")
    assert "Divergence from" in again
