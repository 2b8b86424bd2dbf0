"""Figures for papers: every kind in every format, vector text, sizes, and what they show."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from fake_records import save, write, write_toy
from matplotlib.text import Text
from PIL import Image

from zoo.cli import main
from zoo.comparison.claims import decide
from zoo.comparison.collect import Run, collect
from zoo.comparison.figures.paper import DOTS, KINDS, RULES, WIDTHS, claims, make
from zoo.comparison.figures.paper.curves import draw as curves_figure
from zoo.comparison.figures.paper.densities import LEAST
from zoo.comparison.figures.paper.densities import draw as densities_figure
from zoo.comparison.figures.paper.look import wrapped
from zoo.comparison.figures.paper.pareto import front_of, points
from zoo.comparison.figures.paper.samples import draw as samples_figure
from zoo.comparison.figures.paper.samples import strip
from zoo.comparison.figures.paper.slide import draw as slide_figure
from zoo.comparison.figures.paper.tuning import draw as tuning_figure
from zoo.comparison.studies import studies
from zoo.comparison.tuning import Trial, efforts, expected_best, jackknife_error, weights
from zoo.errors import ZooError
from zoo.record import DataDescription, Metric

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Run]:
    root = tmp_path_factory.mktemp("runs")
    for seed, key in itertools.product(range(3), ("", "-b", "-c", "-d")):
        for model, family, fd, latency in (("realnvp", "flow", 4.0, 0.004), ("vae", "vae", 6.0, 0.001)):
            spread = (1 + 0.02 * seed) * (1 + 0.1 * len(key) * (ord(key[-1]) - 97 if key else 1))
            record = write(root, model, family, fd=fd * spread, latency=latency * spread, seed=seed, key=key)
            record.metrics["sharpness"] = Metric(
                0.7 + 0.01 * seed if model == "vae" else 1.0, "1", direction="one"
            )
            record.provenance.data = DataDescription(name="digits", shape=[1, 8, 8])
            save(root, record)
    for model in ("realnvp", "maf"):
        write_toy(root, model, 0.1)
    return collect([root])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_written_in_every_format(runs: list[Run], kind: str, tmp_path: Path) -> None:
    for suffix in (".png", ".svg", ".pdf"):
        file = make(kind, runs, tmp_path / f"{kind}{suffix}", "page" if suffix == ".png" else "column")
        assert file.stat().st_size > 1000
    with Image.open(tmp_path / f"{kind}.png") as picture:
        assert picture.width == pytest.approx(WIDTHS["page"] * DOTS, abs=2)
    svg = (tmp_path / f"{kind}.svg").read_text()
    assert re.search(r"<text[^>]*>", svg), "text is text, not paths"
    assert float(re.search(r'width="([\d.]+)pt"', svg)[1]) == pytest.approx(72 * WIDTHS["column"])  # type: ignore[index]
    assert b"/Type3" not in (tmp_path / f"{kind}.pdf").read_bytes()


def words_of(svg: Path) -> list[str]:
    """Return the texts of a drawing, a line each."""
    return re.findall(r">([^<>]+)</text>", svg.read_text(encoding="utf-8"))


def test_curves_say_which_models_have_none(runs: list[Run], tmp_path: Path, monkeypatch) -> None:
    curves = Run.curves
    monkeypatch.setattr(Run, "curves", lambda run: {} if run.record.model == "vae" else curves(run))
    texts = words_of(make("curves", runs, tmp_path / "curves.svg", "column"))
    assert any(text.startswith("without such a curve: vae") for text in texts)


def test_a_collapsed_seed_is_on_no_front_and_in_no_strip_of_samples(tmp_path: Path) -> None:
    for seed in range(3):
        for model, fd in (("maf", 4.0), ("glow", 5.0), ("vae", 3.0 if seed else 300.0), ("gan", 400.0)):
            write(tmp_path, model, "flow", fd=fd + 0.1 * seed, seed=seed, latency=0.001 * fd)
    gathered = collect([tmp_path])[0]
    (study,) = studies(gathered)
    assert {point.name for point in points(study)} == {"maf", "glow"}, (
        "no front has a row that collapsed once"
    )
    texts = words_of(make("samples", gathered, tmp_path / "samples.svg", "column"))
    assert "digits; collapsed, not drawn: gan, 1 of 3 seeds of vae" in texts
    assert "vae" in texts, "its first sound seed is shown"
    assert "gan" not in texts


def test_the_same_records_make_the_same_bytes(runs: list[Run], tmp_path: Path) -> None:
    first, second = (make("slide", runs, tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first.replace(b"a-clip", b"b-clip") == second


def test_pale_points_of_the_trade_off_are_explained(runs: list[Run], tmp_path: Path) -> None:
    assert any("pale: other settings" in text for text in words_of(make("pareto", runs, tmp_path / "a.svg")))
    alone = [run for run in runs if run.name in ("realnvp", "vae") and run.record.data == "digits"]
    alone = [run for run in alone if not run.record.run_id.endswith(("-b", "-c", "-d"))]
    assert not any("pale" in text for text in words_of(make("pareto", alone, tmp_path / "b.svg")))


def test_the_slide_names_its_data_and_its_seeds(runs: list[Run], tmp_path: Path) -> None:
    assert "digits, n = 3 seeds a model" in words_of(make("slide", runs, tmp_path / "a.svg", "column"))
    fewer = [run for run in runs if run.record.model != "vae" or run.record.seed < 2]
    assert "digits, n = 2 to 3 seeds a model" in words_of(make("slide", fewer, tmp_path / "b.svg", "column"))


def test_the_slide_has_the_unit_of_its_likelihood(runs: list[Run]) -> None:
    def unit(data: str) -> str:
        of = [study for study in studies(runs) if study.data == data]
        (panel,) = (a for a in slide_figure(of, 6.75).axes if a.get_title("left") == "density?")
        return panel.get_xlabel()

    assert unit("digits") == "bits/dim"
    assert unit("rings") == "nats"


def test_one_far_value_of_the_slide_is_an_arrow_with_its_number(runs: list[Run], monkeypatch) -> None:
    def of(run: Run) -> Run:
        if run.record.model != "vae" or run.record.data != "digits":
            return run
        metrics = run.record.metrics | {"sharpness": Metric(37.0 + run.record.seed, "1", direction="one")}
        return dataclasses.replace(run, record=dataclasses.replace(run.record, metrics=metrics))

    (panel,) = (
        axis
        for axis in slide_figure(studies(list(map(of, runs))), 6.75).axes
        if axis.get_title("left") == "sharp?"
    )
    assert panel.get_xlim()[1] < 3, "the rest is not flattened"
    assert "38" in {text.get_text() for text in panel.texts}
    assert {line.get_marker() for line in panel.lines} >= {">", "o"}


def test_the_numbers_on_densities_stand_on_dark(runs: list[Run]) -> None:
    texts = [text for axis in densities_figure(studies(runs), 6.75).axes for text in axis.texts]
    assert texts
    for text in texts:
        patch = text.get_bbox_patch()
        assert max(patch.get_facecolor()[:3]) == 0
        assert patch.get_alpha() >= 0.6


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize(
    "label",
    [
        "fd_inf/digits-cnn: a critic that was trained with augmented real examples / one without them",
        "WGAN-GP WITH AUGMENTED MNIST IMAGES / MADE WITHOUT WEIGHTS OF A MOVING MEAN, WHICH IS MMMMMMWW",
    ],
    ids=["narrow letters", "wide letters"],
)
def test_no_label_of_the_claims_is_cut_or_runs_into_the_drawing(
    runs: list[Run], label: str, width: float, monkeypatch
) -> None:
    monkeypatch.setattr(claims, "label_of", lambda part: label)
    figure = claims.draw(studies(runs), width)
    figure.set_dpi(
        DOTS
    )  # of the files: on a coarse grid every letter is rounded to whole dots, a tenth wider
    (axis,) = figure.axes
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    edge = axis.get_window_extent(renderer).x0
    lines = [text for text in axis.texts if text.get_fontweight() != "bold"]
    assert lines
    assert " ".join(text.get_text() for text in lines).count(label) >= 1, "in full"
    assert all(text.get_window_extent(renderer).x1 <= edge for text in lines)
    heads = [text.get_window_extent(renderer) for text in axis.texts if text.get_fontweight() == "bold"]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in heads)
    levels = [(min(y), max(y)) for line in axis.lines for x, y in [line.get_data()] if tuple(x) == (1, 1)]
    rows = [text.get_position()[1] for text in axis.texts if text.get_fontweight() == "bold"]
    assert not any(low < row < high for low, high in levels for row in rows), "no rule behind a sentence"


def test_a_text_is_wrapped_by_the_width_of_its_letters() -> None:
    assert wrapped("", 1, 6) == []
    thin, wide = wrapped("i" * 60, 1, 6), wrapped("W" * 60, 1, 6)
    assert ("".join(thin), "".join(wide)) == ("i" * 60, "W" * 60), "a word that is too wide is cut"
    assert len(thin) < len(wide)
    assert wrapped("one two", 10, 6) == ["one two"]
    assert wrapped("one two", 0.25, 6) == ["one", "two"]


def test_a_front_has_the_points_that_none_is_better_than(runs: list[Run]) -> None:
    drawn = points(next(study for study in studies(runs) if study.data == "digits"))
    front = front_of(drawn)
    assert {point.family for point in front} == {"flow", "vae"}
    for point in front:
        assert not any(other.y < point.y and other.x <= point.x for other in drawn)


def test_mistakes_are_named(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="There is no figure 'pie'"):
        make("pie", runs, tmp_path / "a.pdf")
    with pytest.raises(ZooError, match=r"ends in \.pdf, \.png, \.svg"):
        make("slide", runs, tmp_path / "a.jpg")
    with pytest.raises(ZooError, match="No run is on the data set 'mnist'"):
        make("slide", runs, tmp_path / "a.pdf", data="mnist")
    with pytest.raises(ZooError, match="no values for the figure 'densities'"):
        make("densities", [run for run in runs if run.record.data == "digits"], tmp_path / "a.pdf")


def test_the_command_draws_a_figure(tmp_path: Path, capsys) -> None:
    write(tmp_path / "runs", "vae", "vae")
    assert main(["figure", "speed", str(tmp_path / "runs"), "-o", str(tmp_path / "speed.pdf")]) == 0
    assert capsys.readouterr().out.strip().endswith("speed.pdf")


def test_a_strip_keeps_the_pixels_and_their_order() -> None:
    images = np.arange(2 * 1 * 2 * 2).reshape(2, 1, 2, 2)
    picture = strip(images, 8)
    np.testing.assert_allclose(picture[:, :2], images[0, 0] / 7)
    np.testing.assert_allclose(picture[:, 3:], images[1, 0] / 7)
    assert (picture[:, 2] == 1).all()


# The expected best of k, against all subsets.


def best_of(trials: list[Trial]) -> float:
    return min(trials, key=lambda trial: trial.selection).value


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_the_expected_best_is_the_mean_over_all_subsets(k: int) -> None:
    rng = np.random.default_rng(0)
    trials = [Trial(*pair) for pair in rng.normal(size=(6, 2))]
    subsets = [best_of(list(subset)) for subset in itertools.combinations(trials, k)]
    assert expected_best(trials, k) == pytest.approx(np.mean(subsets))
    assert weights(6, k).sum() == pytest.approx(1)


def test_the_error_of_the_mean_is_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=7)
    trials = [Trial(i, float(value)) for i, value in enumerate(values)]
    assert jackknife_error(trials, 1) == pytest.approx(values.std(ddof=1) / math.sqrt(7))


def test_a_configuration_that_diverged_counts_as_the_worst(tmp_path: Path) -> None:
    for key, fd in (("", 2.0), ("-b", 3.0), ("-c", 4.0)):
        write(tmp_path, "maf", "flow", fd=fd, key=key)
    write(tmp_path, "maf", "flow", status="diverged", key="-d")
    (effort,) = efforts(studies(collect([tmp_path])[0])[0])
    assert (effort.n, effort.k) == (4, (1, 2))
    assert effort.expected[0] == pytest.approx((2 * 3 * 4 * 4) ** 0.25)
    assert math.isfinite(effort.high[0])
    assert math.isnan(effort.high[1])


def test_the_ticks_of_tuning_do_not_overprint(tmp_path: Path) -> None:
    for place in range(70):
        write(tmp_path, "maf", "flow", fd=2.0 + place, key=f"-{place}")
        if place < 12:
            write(tmp_path, "flow_matching", "continuous flow", fd=3.0 + place, key=f"-{place}")
    with matplotlib.rc_context(RULES):
        figure = tuning_figure(studies(collect([tmp_path])[0]), WIDTHS["column"])
        figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    (axis,) = figure.axes
    boxes = [label.get_window_extent(renderer) for label in axis.get_xticklabels() if label.get_text()]
    assert len(boxes) >= 5
    assert all(one.x1 + 2 < other.x0 for one, other in itertools.pairwise(boxes))


def toys(root: Path, models: int, names: Sequence[str]) -> list[Run]:
    """Write runs of some models on some data sets of known density, and return them."""
    for data, place in itertools.product(names, range(models)):
        write_toy(root, f"residual_flow{place}", 0.0089 + 0.1 * place, data)
    return collect([root])[0]


EIGHT = ("2spirals", "8gaussians", "checkerboard", "circles", "moons", "pinwheel", "rings", "swissroll")


@pytest.mark.parametrize(
    ("models", "names", "width"),
    [
        (10, EIGHT, "page"),
        (10, EIGHT[:4], "column"),
        (3, EIGHT, "column"),
        (1, EIGHT, "page"),
        (10, EIGHT, "column"),
        (4, EIGHT[:7], "column"),
    ],
)
def test_pictures_of_densities_have_a_least_size_and_no_words_overlap(
    tmp_path: Path, models: int, names: Sequence[str], width: str
) -> None:
    with warnings.catch_warnings(), matplotlib.rc_context(RULES):
        warnings.simplefilter("error")
        figure = densities_figure(studies(toys(tmp_path, models, names)), WIDTHS[width])
        figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    assert all(axis.images or not axis.axison for axis in figure.axes), "a place without a picture is empty"
    frames = [axis.get_window_extent(renderer) for axis in figure.axes]
    assert min(box.width for box in frames) >= (LEAST - 0.02) * figure.dpi
    words = [
        text.get_window_extent(renderer)
        for axis in figure.axes
        for text in (axis.title, axis.yaxis.label, *axis.texts)
        if text.get_text()
    ]
    assert len(words) >= models * len(names)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(words, 2))
    whole = figure.bbox
    assert all(box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y1 <= whole.y1 for box in words)


def texts_of(figure: Any) -> list[str]:
    """Return all texts of a figure that are not empty."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_densities_that_do_not_fit_across_are_continued_below_with_the_names_of_the_rows(
    tmp_path: Path,
) -> None:
    with matplotlib.rc_context(RULES):
        figure = densities_figure(studies(toys(tmp_path, 10, EIGHT)), WIDTHS["column"])
        figure.draw_without_rendering()
    columns: dict[float, list[str]] = {}
    rows: dict[str, set[float]] = {}
    for axis in figure.axes:
        place = axis.get_position()
        if axis.get_title():
            columns.setdefault(round(place.y0, 2), []).append(axis.get_title())
        if axis.get_ylabel():
            rows.setdefault(axis.get_ylabel(), set()).add(round(place.x0, 2))
    assert list(columns.values()) == [[*EIGHT[:4]], [*EIGHT[4:]]]
    assert {*rows} == {"data", *(f"residual_flow{place}" for place in range(10))}
    assert all(len(left) == 1 for left in rows.values()), "the names stand at the left"
    pictures = [axis for axis in figure.axes if axis.images]
    assert len(pictures) == 8 * 11
    labels = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    assert labels[: len(labels) // 2] == labels[len(labels) // 2 :]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes_of(figure))


def boxes_of(figure: Any) -> list[Any]:
    """Return the places of all texts of a figure that are not empty, in pixels."""
    renderer = figure.canvas.get_renderer()
    return [text.get_window_extent(renderer) for text in figure.findobj(Text) if text.get_text()]


def test_where_names_leave_no_room_they_are_wrapped_and_all_densities_are_drawn(tmp_path: Path) -> None:
    for place, data in itertools.product(range(7), ("rings " + "W" * 20, "moons")):
        write_toy(tmp_path, "m" * 50 + str(place), 0.1, data)
    with matplotlib.rc_context(RULES):
        figure = densities_figure(studies(collect([tmp_path])[0]), WIDTHS["column"])
        figure.set_dpi(DOTS)
        figure.draw_without_rendering()
    assert sum(bool(axis.images) for axis in figure.axes) == 2 * 8
    renderer = figure.canvas.get_renderer()
    frames = [axis.get_window_extent(renderer) for axis in figure.axes if axis.images]
    assert min(box.width for box in frames) >= (LEAST - 0.02) * figure.dpi
    boxes = boxes_of(figure)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_densities_of_one_data_set_are_in_lines_across_the_width(tmp_path: Path, width: float) -> None:
    with matplotlib.rc_context(RULES):
        figure = densities_figure(studies(toys(tmp_path, 7, ("rings",))), width)
        figure.draw_without_rendering()
    columns = 3 if width < 5 else 6
    assert len({round(axis.get_position().x0, 2) for axis in figure.axes}) == columns
    names = [axis.get_title() for axis in figure.axes[:8]]
    assert names == ["rings", *(f"residual_flow{place}" for place in range(7))]


def test_samples_of_the_plane_are_up_to_a_thousand_points_on_the_datas_histogram(tmp_path: Path) -> None:
    for model, count in (("maf", 1200), ("realnvp", 64)):
        record = write_toy(tmp_path, model, 0.1)
        directory = save(tmp_path, record)
        points = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
        np.savez(directory / "samples.npz", samples=points, real=points[:64], levels=0)
        histogram = np.eye(8, dtype=np.float16)
        np.savez(
            directory / "density.npz", data=histogram, density=histogram, extent=np.array([-4, 4, -4, 4])
        )
    with matplotlib.rc_context(RULES):
        figure = samples_figure(studies(collect([tmp_path])[0]), WIDTHS["column"])
    shown = {axis.get_title(): axis for axis in figure.axes if axis.get_title()}
    assert {name: len(axis.lines[0].get_xdata()) for name, axis in shown.items()} == {
        "real data": 64, "maf": 1000, "realnvp": 64,
    }  # fmt: skip
    assert all(axis.images[0].get_extent() == [-4, 4, -4, 4] for axis in shown.values())
    text = " ".join(figure.get_supxlabel().split())
    assert text == "rings: 64 to 1,000 points a panel; grey: histogram of the data"


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_what_is_left_out_of_the_samples_stays_inside_the_figure(tmp_path: Path, width: float) -> None:
    for seed in range(3):
        for model in ("maf", "glow", "vae"):
            write(tmp_path, model, "flow", fd=4.0 + 0.01 * seed, seed=seed)
        for place in range(9):
            fd = 300.0 if seed == 2 else 4.0
            write(tmp_path, f"a_flow_of_a_long_name{place}", "flow", fd=fd, seed=seed)
    with matplotlib.rc_context(RULES):
        figure = samples_figure(studies(collect([tmp_path])[0]), width)
        figure.draw_without_rendering()
    assert "1 of 3 seeds of a_flow_of_a_long_name8" in " ".join(figure.get_supxlabel().split())
    assert all(box.x0 >= 4 and box.x1 <= figure.bbox.x1 for box in boxes_of(figure))


def test_the_names_of_curves_have_the_marks_of_their_kinds(tmp_path: Path) -> None:
    write(tmp_path, "glow", "flow", details={"dequantisation": "uniform"})
    write(tmp_path, "vae", "vae", "lower bound")
    write(tmp_path, "ffjord", "continuous flow", "estimate")
    write(tmp_path, "pixelcnn", "autoregressive")
    with matplotlib.rc_context(RULES):
        figure = curves_figure(studies(collect([tmp_path])[0]), WIDTHS["column"])
    texts = texts_of(figure)
    assert {"glow †", "vae ≤", "ffjord ≈", "pixelcnn"} <= {*texts}
    said = " ".join(" ".join(texts).split())
    assert "† exact for the dequantised density; ≤ bound: the true value is at most this; ≈ estimate" in said


@pytest.mark.parametrize(
    ("last", "scale", "linear"),
    [(0.02, "log", None), (-0.004, "symlog", 0.005), (-0.06, "symlog", 0.1), (0.0, "symlog", 0.001)],
)
def test_the_band_of_a_distance_is_drawn_in_full_where_it_falls_to_zero_or_below(
    tmp_path: Path, last: float, scale: str, linear: float | None
) -> None:
    for seed in range(2):
        directory = tmp_path / write(tmp_path, "gan", "gan", "none", None, seed=seed).run_id
        values = [30.0, 3.0, 0.3, last if seed else 0.2]
        lines = [f"{100 * place},{value}" for place, value in enumerate(values, 1)]
        (directory / "curves.csv").write_text("\n".join(["updates,val/energy_distance", *lines]) + "\n")
    with matplotlib.rc_context(RULES):
        figure = curves_figure(studies(collect([tmp_path])[0]), WIDTHS["column"])
        figure.draw_without_rendering()
    (axis,) = figure.axes
    assert axis.get_yscale() == scale
    (band,) = axis.collections
    corners = [corner for path in band.get_paths() for corner in path.vertices]
    assert min(y for _, y in corners) == pytest.approx(last)
    frame = axis.get_window_extent()
    heights = [y for _, y in axis.transData.transform(corners)]
    assert frame.y0 < min(heights) < max(heights) < frame.y1
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes_of(figure))
    words = {text.get_text() for text in axis.texts}
    assert words == ({"linear below"} if linear else set())
    if linear:
        ticks = [text.get_text() for text in axis.get_yticklabels()]
        assert ticks[:2] == ["0", f"{linear:g}"]
        assert axis.transData.transform((0, linear))[1] > axis.transData.transform((0, 0))[1] + 10


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_sharpness_of_the_slide_has_the_ends_of_its_band_as_ticks(runs: list[Run], width: float) -> None:
    with matplotlib.rc_context(RULES):
        figure = slide_figure(studies(runs), width)
        figure.draw_without_rendering()
    (axis,) = (axis for axis in figure.axes if axis.get_title(loc="left") == "sharp?")
    labels = [label for label in axis.get_xticklabels() if label.get_text()]
    assert [label.get_text() for label in labels] == ["0.8", "1", "1.25"]
    renderer = figure.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in labels]
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_slide_tells_the_lost_run_that_decides_though_the_interval_lies_in_the_band(
    tmp_path: Path, width: float
) -> None:
    for seed in range(6):
        write(tmp_path, "vae", "vae", "lower bound", fd=400.0 if seed == 5 else 4 + 0.01 * seed, seed=seed)
        write(tmp_path, "maf", "flow", fd=4 + 0.01 * seed, seed=seed)
    found = studies(collect([tmp_path])[0])
    with matplotlib.rc_context(RULES):
        figure = slide_figure(found, width)
        figure.draw_without_rendering()
    (panel,) = (axis for axis in figure.axes if axis.get_title(loc="left") == "stable?")
    (told,) = (text for text in panel.texts if "collapsed" in text.get_text())
    assert told.get_text() == "1 of 6 collapsed"
    box, frame = told.get_window_extent(), panel.get_window_extent()
    assert frame.x0 <= box.x0 < box.x1 <= frame.x1 + 1
    assert "stable? also counts lost runs" in " ".join(figure.get_suptitle().split())
    with matplotlib.rc_context(RULES):
        alone = slide_figure(studies([run for run in collect([tmp_path])[0] if run.record.seed < 5]), width)
    assert "lost runs" not in alone.get_suptitle()


@pytest.fixture(scope="module")
def ledger() -> list[Run]:
    return collect([RESULTS / "claims/records.tar.xz"])[0]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_claims_say_what_each_ratio_is_of_and_every_look_has_its_entry(
    ledger: list[Run], width: float
) -> None:
    with matplotlib.rc_context(RULES):
        figure = claims.draw(studies(ledger), width)
        figure.set_dpi(DOTS)
        figure.draw_without_rendering()
    (axis,) = figure.axes
    parts = [part for one in decide(ledger) for part in one.deciding if part.outcome is not None]
    labels = {claims.label_of(part) for part in parts if "log" in part.test and "slope" not in part.test}
    assert {"sharpness: vae / real images", "Fréchet distance: ffjord / realnvp"} <= labels
    told = " ".join(text.get_text() for text in axis.texts if text.get_fontweight() != "bold")
    assert all(": " in label and " / " in label for label in labels if label in told)
    assert "fd/" not in told
    assert "…" not in told
    (legend,) = figure.legends
    looks = {
        entry.get_text(): (handle.get_marker(), handle.get_color(), handle.get_markerfacecolor())
        for entry, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    drawn = {
        (line.get_marker(), line.get_color(), line.get_markerfacecolor())
        for line in axis.lines
        if line.get_marker() not in ("None", "")
    }
    assert {"supported", "not supported", "equivalent", "undecided"} <= set(looks)
    assert {*looks.values()} == drawn
    assert len({*looks.values()}) == len(looks)
    box, below = legend.get_window_extent(), axis.xaxis.label.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= below.y0
    assert not any(box.overlaps(text.get_window_extent()) for text in figure.texts)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("names", [("rings",), EIGHT[:2]], ids=["one data set", "two"])
def test_the_numbers_on_densities_are_said_to_be_divergences_in_nats(
    tmp_path: Path, names: Sequence[str], width: float
) -> None:
    toys(tmp_path, 3, names)
    for data in names:
        record = write_toy(tmp_path, "ffjord", 0.4, data)
        record.metrics["kl"] = dataclasses.replace(record.metrics["kl"], kind="estimate")
        save(tmp_path, record)
    with matplotlib.rc_context(RULES):
        figure = densities_figure(studies(collect([tmp_path])[0]), width)
        figure.draw_without_rendering()
    said = " ".join(figure.get_supxlabel().split())
    assert said == "in a corner: KL from the data, nats; ≈ estimate"
    boxes = boxes_of(figure)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_every_curve_is_told_apart_without_its_colour(tmp_path: Path) -> None:
    models = {"realnvp": "flow", "ffjord": "continuous flow", "vae": "vae", "pixelcnn": "autoregressive"}
    for place in range(18):
        models[f"flow{place}"] = "flow"
    for model, family in models.items():
        write(tmp_path, model, family)
    with matplotlib.rc_context(RULES):
        figure = curves_figure(studies(collect([tmp_path])[0]), WIDTHS["page"])
    (axis,) = figure.axes
    looks = {(line.get_marker(), str(line.get_markerfacecolor()) == "white") for line in axis.lines}
    assert len(looks) == len(models)
    assert all(line.get_marker() != "None" for line in axis.lines)
