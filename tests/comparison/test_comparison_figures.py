"""The figures: their curves, names and limits on the number of runs."""

from __future__ import annotations

import numpy as np
import pytest
from fake_records import line, save, show, write, write_toy
from matplotlib.text import Text

from zoo.comparison import render
from zoo.comparison.collect import collect
from zoo.comparison.figures import (
    curves,
    densities,
    draw,
    samples,
    sampling_vs_batch,
    speed,
    speed_vs_quality,
)
from zoo.comparison.figures.select import at_most
from zoo.comparison.figures.style import plain_text
from zoo.comparison.figures.tiles import image_grid
from zoo.comparison.quantities import metric_value
from zoo.comparison.studies import named
from zoo.comparison.tables import build
from zoo.record import Hardware


def runs_in(directory):
    return collect([directory])[0]


def test_figures_call_configurations_as_the_tables_do(tmp_path):
    for key, rate in {"": 1, "-b": 2}.items():
        for seed in (0, 1):
            record = write(tmp_path, "gan", "gan", key=key, seed=seed)
            record.provenance.config |= {"training": {"lr": rate}}
            save(tmp_path, record)
    names = {"gan", "gan (lr 2)"}
    assert all(name + " " in show([tmp_path]) for name in names)
    runs = named(runs_in(tmp_path))
    tiles = {axis.get_title().strip() for axis in samples(runs).axes}
    assert names < tiles
    assert names == {text.get_text() for text in speed_vs_quality(runs).axes[0].texts} - {"real data, 0.5"}


def test_sampling_against_batch_is_a_median_over_seeds(tmp_path):
    for seed, latency in enumerate((0.1, 0.2, 0.9)):
        record = write(tmp_path, "ffjord", "continuous flow", seed=seed, latency=latency, evaluations=20)
        record.sampling.throughput_by_batch = {"16": 16.0, "64": 32.0}
        record.sampling.sequential_evaluations_by_batch = {"16": 30 + seed, "64": 40}
        save(tmp_path, record)
    old = write(tmp_path, "vae", "vae", latency=0.5, evaluations=1)
    old.sampling.throughput_by_batch = {"16": 32.0}
    save(tmp_path, old)
    write(tmp_path, "glow", "flow")  # the latency of single samples is one point, not a curve
    out = tmp_path / "out"
    show([tmp_path], out)
    assert all((out / f"sampling_vs_batch.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))
    seconds, depth, beside = sampling_vs_batch(runs_in(tmp_path)).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in seconds.lines}
    assert lines == {"ffjord": [[1, 0.2], [16, 1], [64, 2]], "vae": [[1, 0.5], [16, 0.5]]}
    lines = {line.get_label(): line.get_xydata().tolist() for line in depth.lines}
    assert lines == {"ffjord": [[1, 20], [16, 31], [64, 40]]}, "an old record has no evaluations by batch"
    assert seconds.get_xscale() == seconds.get_yscale() == depth.get_yscale() == "log"
    assert len(beside.get_legend().get_texts()) == 2


def test_a_single_point_is_not_a_learning_curve(tmp_path):
    for model in ("maf", "glow"):
        write(tmp_path, model, "flow")
    write(tmp_path, "gan", "gan", "none", value=None)
    for model in ("glow", "gan"):
        file = tmp_path / f"{model}-digits-s0/curves.csv"
        file.write_text("\n".join(file.read_text().splitlines()[:2]) + "\n")
    runs = runs_in(tmp_path)
    (panel,) = curves(runs).axes
    assert panel.get_title() == "validation bits/dim"
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["maf"]
    assert curves([run for run in runs if run.record.model != "maf"]) is None


def test_names_of_learning_curves_have_the_marks_of_their_kinds_and_cover_no_line(tmp_path):
    write(tmp_path, "glow", "flow", details={"dequantisation": "uniform"})
    write(tmp_path, "vae", "vae", "lower bound")
    write(tmp_path, "ffjord", "continuous flow", "estimate")
    write(tmp_path, "pixelcnn", "autoregressive")
    write(tmp_path, "maf", "flow")
    write(tmp_path, "maf", "flow", details={"dequantisation": "uniform"}, key="-noisy")
    figure = curves(runs_in(tmp_path))
    figure.draw_without_rendering()
    (panel,) = figure.axes
    lines = {line.get_label(): line.get_linestyle() for line in panel.lines}
    assert {*lines} == {"glow †", "vae ≤", "ffjord ≈", "pixelcnn", "maf", "maf †"}
    said = "† exact for the dequantised density; ≤ bound: the true value is at most this; ≈ estimate"
    assert " ".join(figure.get_supxlabel().split()) == f"behind a name: {said}", "as the tables' captions"
    renderer = figure.canvas.get_renderer()
    (words,) = (text for text in figure.findobj(Text) if text.get_text() == figure.get_supxlabel())
    assert words.get_window_extent(renderer).x1 <= figure.bbox.x1
    assert panel.get_legend().get_window_extent(renderer).x0 >= panel.get_window_extent(renderer).x1
    assert panel.get_legend().get_window_extent(renderer).x1 <= figure.bbox.x1
    exact = [run for run in runs_in(tmp_path) if run.record.model == "pixelcnn"]
    assert curves(exact).get_supxlabel() == "", "without a mark there is nothing to explain"


def test_very_many_runs_fit_the_terminal_and_the_figures(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.comparison.figures.tiles.PANELS", 3)
    monkeypatch.setattr("zoo.comparison.figures.lines.LINES", 4)
    monkeypatch.setattr(speed, "NAMES", 2)
    monkeypatch.setattr(render, "ROWS", 1)
    for index in range(6):
        for model in ("glow", "maf"):
            write(tmp_path / "runs", model, "flow", value=2 + index / 9, fd=1.0 + index, key=f"-{index}")
    runs = runs_in(tmp_path / "runs")
    assert len(at_most(runs, 12)) == 12
    assert [run.record.model for run in at_most(runs, 4)] == ["glow", "maf"]
    best = speed.best(speed.points(runs, metric_value("fd/digits-cnn")))
    assert [(point.model, point.distance) for point in best] == [("glow", 1.0), ("maf", 1.0)]
    assert [text.get_text() for text in speed_vs_quality(runs).axes[0].texts] == [
        "real data, 0.5", "glow", "maf",
    ]  # fmt: skip
    text = show([tmp_path / "runs"], tmp_path / "out")
    assert "and 2 more rows" in text  # one of them is the floor
    assert "5 of glow, 5 of maf" in text
    assert len((tmp_path / "out/table.md").read_text().splitlines()) > 12


@pytest.mark.parametrize("values", [(0.05, 0.3), (0.3, 0.05)])
def test_the_drawn_density_is_that_of_the_nearest_configuration(tmp_path, values):
    for width, value in enumerate(values):
        write_toy(tmp_path, "maf", value, key=f"-{width}")
    figure = densities(runs_in(tmp_path))
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "0.050"]
    assert " ".join(figure.get_supxlabel().split()) == "below a picture: KL from the data, nats"


def test_table_and_picture_agree_on_the_nearest_configuration(tmp_path):
    for key, values in {"-a": (0.05, 0.9), "-b": (0.2, 0.2)}.items():
        for seed, value in enumerate(values):
            write_toy(tmp_path, "maf", value, key=key, seed=seed)
    labels = [axis.get_xlabel() for axis in densities(runs_in(tmp_path)).axes]
    assert labels == ["", "0.200"]
    write_toy(tmp_path, "maf", 0.2, data="moons")
    (row,) = build(runs_in(tmp_path))[0].rows
    assert row.cells[1].shown.startswith("0.2")


def test_runs_with_nothing_to_show_have_no_figures(tmp_path):
    write(tmp_path, "maf", "flow", status="diverged")
    assert draw(runs_in(tmp_path), tmp_path / "out") == {}


def test_a_figure_has_the_same_bytes_each_time(runs, tmp_path):
    for out in ("a", "b"):
        (tmp_path / out).mkdir()
        files = draw(runs_in(runs), tmp_path / out)
    assert {"samples", "curves", "speed_vs_quality"} <= set(files)
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_images_are_laid_out_row_by_row():
    images = np.stack([np.full((1, 2, 2), value) for value in (0, 4, 8)])
    grid = image_grid(images, 9)
    assert grid.shape == (5, 5)
    assert (grid[0, 0], grid[0, 3], grid[3, 0], grid[3, 3], grid[2, 2]) == (0, 0.5, 1, 0.5, 0.5)


def test_names_are_not_read_as_formulas_or_hidden():
    assert plain_text("$x$ _y") == r"\$x\$ _y"
    assert plain_text("_hidden") == " _hidden"


def test_a_name_that_looks_like_markup_is_printed_unchanged(tmp_path):
    write(tmp_path, "[bold]", "flow")
    assert "[bold]" in line(show([tmp_path]), "flow")


def test_figures_are_drawn_of_runs_that_share_no_column(tmp_path):
    """Ended early, without a density, of other kinds, protocols and machines, with and without seeds."""
    for seed, kind in enumerate(("exact", "lower bound")):
        write(tmp_path / "runs", "maf", "flow", kind, seed=seed)
    write(tmp_path / "runs", "glow", "flow", status="diverged")
    write(tmp_path / "runs", "gan", "gan", "none", value=None)
    record = write(tmp_path / "runs", "vae", "vae", key="-elsewhere")
    record.provenance.protocol_hash, record.provenance.hardware = "other", Hardware(cpu="Another")
    del record.metrics["fd/digits-cnn"]
    save(tmp_path / "runs", record)
    show([tmp_path / "runs"], tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert all(name in page for name in ("maf", "glow", "gan", "vae"))
    assert (tmp_path / "out/samples.png").exists()
