"""The charts of the page: lines told apart without colour, fronts, labels, and what is said of the rest."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, Tab
from fake_records import save, write, write_toy
from invented import built, gathered
from scipy.stats import t

from zoo.comparison.figures.paper.pareto import front_of, points
from zoo.comparison.front import front
from zoo.comparison.studies import studies
from zoo.record import Metric

FAMILY = {
    "glow": "flow", "maf": "flow", "realnvp": "flow", "nsf_coupling": "flow", "nsf_autoregressive": "flow",
    "residual_flow": "flow", "tarflow": "flow", "iresnet": "flow", "ffjord": "continuous flow",
    "diffusion": "diffusion", "vae": "vae", "gan": "gan",
}  # fmt: skip

Box = tuple[float, float, float, float]  # left, top, right, bottom
BOX = "(b => [b.left, b.top, b.right, b.bottom])"  # of a DOMRect
BLURRED = {"sigma": [0.0, 0.5, 1.0, 2.0, 4.0], "value": [1.0, 0.4, 0.03, 0.007, 0.002]}


@pytest.fixture(scope="module")
def charts(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Tab:
    """Return the page of twelve models with curves, batches, and two data sets of known density."""
    root = tmp_path_factory.mktemp("charts") / "runs"
    for place, (model, family) in enumerate(FAMILY.items()):
        for key in ("", "-wide") if model == "vae" else ("",):
            record = write(
                root, model, family, "none" if family == "gan" else "exact", None,
                fd=5.0 + place - (11.5 if key else 0), latency=0.001 * (1 + place), key=key,
            )  # fmt: skip
            record.sampling.throughput_by_batch = {"16": 100.0, "64": 130.0 + 20 * place, "256": 900.0}
            if model == "vae":  # a line on both axes: its slope is known
                record.sampling.throughput_by_batch = {str(n): 100.0 for n in (4, 16, 64, 256)}
            blur = {"gan": 40.0, "maf": 0.0}.get(model, 0.4 + 0.01 * place)
            details = {"blur_sigma": blur, "calibration": BLURRED}
            sharp = {"ffjord": 90.0, "iresnet": 80.0, "maf": 70.0}.get(model, 0.7)
            record.metrics["sharpness"] = Metric(sharp, "1", direction="one", details=details)
            record.provenance.config = {"seed": 0, "training": {"lr": 0.01 if key else 0.1}}
            save(root, record)
            column = "val/loss" if family == "diffusion" else "val/bits_per_dim"
            lines = [f"{step},{place / 5 + 30 / step}" for step in range(10, 110, 10)]
            curves = root / record.run_id / "curves.csv"
            if family == "gan":
                curves.unlink(missing_ok=True)
            else:
                curves.write_text("\n".join([f"updates,{column}", *lines]) + "\n", encoding="utf-8")
    for place, model in enumerate(FAMILY):
        write_toy(root, model, 0.01 * (1 + place), "rings")
    write_toy(root, "maf", 0.2, "moons")
    estimate = write_toy(root, "flow_matching", 0.001, "rings", family="continuous flow")
    estimate.metrics["kl"] = Metric(0.001, "nats", "estimate", direction="lower", n=100)
    save(root, estimate)
    file = root.parent / "index.html"
    file.write_text(built(root), encoding="utf-8")
    tab = browser.open(file)
    tab.root = root  # type: ignore[attr-defined]
    return tab


@pytest.fixture(params=[1400, 400])
def window(browser: Browser, charts: Tab, request: pytest.FixtureRequest) -> Iterator[Tab]:
    """Yield the page of ``charts`` in a tab of its own, which is wide in one test and narrow in the other."""
    tab = browser.open(charts.root.parent / "index.html", width=request.param)  # type: ignore[attr-defined]
    yield tab
    tab.close()


def look(tab: Tab, label: str, section: str) -> None:
    """Choose a data set, scroll to a section, and wait until its chart is drawn of these data."""
    tab.evaluate(f"zoo.set({{study: zoo.studyData().studies.find(s => s.label === '{label}').id}})")
    tab.show(section)
    tab.settle()
    tab.evaluate("zoo.idle()")
    tab.settle()


def labels_of(tab: Tab, section: str) -> list[tuple[str, Box]]:
    """Return the text of each label of a chart, and where it stands."""
    labels = tab.evaluate(
        f"[...document.querySelectorAll('#{section}-chart .annotation-text')]"
        f".map(n => [n.textContent, {BOX}(n.getBoundingClientRect())])"
    )
    return [(text, tuple(box)) for text, box in labels]


def overlap(one: Box, other: Box) -> tuple[float, float]:
    """Return how wide and how high the common part of two boxes is; negative for how far they are apart."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across, down


def drawn(tab: Tab, section: str) -> list[tuple[str, str, str]]:
    """Return name, dash and marker of each line of a chart that has a name."""
    lines = tab.evaluate(
        f"document.querySelector('#{section}-chart').data.filter(t => t.name && t.marker)"
        ".map(t => [t.name.split(',')[0], t.line.dash, t.marker.symbol])"
    )
    return [tuple(line) for line in lines]


@pytest.mark.parametrize("section", ["curves", "scaling", "profile"])
def test_models_differ_by_dash_and_marker_and_are_named_beside_their_lines(charts: Tab, section: str) -> None:
    label = "digits" if section != "profile" else "rings"
    look(charts, label, section)
    lines = drawn(charts, section)
    assert len(lines) >= 10
    looks = [look for _, *look in lines]
    assert len({tuple(look) for look in looks}) == len(looks), "no two lines look alike without colour"
    names = charts.evaluate(
        f"[...document.querySelectorAll('#{section}-chart .annotation-text')].map(n => n.textContent)"
    )
    assert {name.split(",")[0] for name in names} == {name for name, *_ in lines}


def test_rows_without_the_curve_are_named_with_the_reason(charts: Tab) -> None:
    look(charts, "digits", "curves")
    (said,) = charts.evaluate("[document.querySelector('#curves-chart-finding').textContent]")
    assert "Without a line: " in said
    assert "diffusion (logged validation loss)" in said
    assert "gan (no curve was kept)" in said


def test_a_slope_whose_interval_says_nothing_is_not_told(charts: Tab) -> None:
    look(charts, "digits", "scaling")
    (said,) = charts.evaluate("[document.querySelector('#scaling-chart-finding').textContent]")
    slopes, _, vague = said.partition("Anything from free to proportional")
    assert "vae 1.00 [1.00, 1.00]" in slopes
    assert "glow" in vague
    assert "glow" not in slopes
    assert "vae" not in vague


def test_the_interval_of_a_slope_is_over_seeds_where_there_are_three(charts: Tab) -> None:
    sizes = (1, 4, 16)
    seeds = [[[size, 0.1 * size**power] for size in sizes] for power in (0.8, 0.9, 1.0, 0.9)]
    rise = charts.evaluate(f"zoo.riseOf({{points: [], seeds: {seeds}}})")
    reach = t.ppf(0.975, 3) * np.std([0.8, 0.9, 1.0, 0.9], ddof=1) / 2
    assert rise["rise"] == pytest.approx(0.9)
    assert (rise["low"], rise["high"]) == pytest.approx((0.9 - reach, 0.9 + reach), rel=1e-4)
    few = charts.evaluate("zoo.riseOf({points: [[1, 1], [2, 2], [4, 4]], seeds: [[[1, 1], [2, 3], [4, 9]]]})")
    assert few == pytest.approx({"rise": 1, "low": 1, "high": 1}), "one seed: the line through the sizes"
    assert charts.evaluate("zoo.riseOf({points: [[1, 1], [2, 2]], seeds: []})") is None


def test_the_front_of_the_page_is_the_figures_and_is_drawn_though_its_rows_are_not_shown(charts: Tab) -> None:
    look(charts, "digits", "tradeoff")
    study = next(one for one in studies(gathered(charts.root)) if one.label == "digits")  # type: ignore[attr-defined]
    expected = {point.name for point in front_of(points(study))}
    found = charts.evaluate(
        "zoo.front(zoo.rowsOf(zoo.current()), zoo.columnOf(zoo.current(), 'latency'),"
        " zoo.columnOf(zoo.current(), zoo.current().quality)).map(row => row.name)"
    )
    assert set(found) == expected
    (hidden,) = [name for name in expected if "lr" in name]
    charts.evaluate("zoo.set({rows: 'pinned', pins: ['maf~maf']})")
    charts.settle()
    assert hidden not in charts.evaluate("zoo.visible().map(row => row.name)")
    ids = charts.evaluate("document.querySelector('#tradeoff-chart').data.at(-1).ids")
    assert set(charts.evaluate("zoo.visible().map(row => row.id)")) < set(ids)
    assert hidden in charts.evaluate("document.querySelector('#tradeoff-chart-finding').textContent")
    charts.evaluate("zoo.set({rows: 'models', pins: []})")


def test_labels_of_points_cover_neither_points_nor_each_other(charts: Tab) -> None:
    look(charts, "digits", "tradeoff")
    crossings = charts.evaluate("""(() => {
      const chart = document.querySelector('#tradeoff-chart');
      const boxes = query => [...chart.querySelectorAll(query)].map(n => n.getBoundingClientRect());
      const labels = boxes('.annotation-text');
      const others = [...boxes('.scatterlayer .point'), ...boxes('.errorbar path')];
      const along = (a, b, low, high) => a[low] < b[high] - 1 && b[low] < a[high] - 1;
      const meet = (a, b) => along(a, b, 'left', 'right') && along(a, b, 'top', 'bottom');
      return labels.flatMap((one, i) => [...labels.slice(i + 1), ...others].filter(o => meet(one, o))).length;
    })()""")
    assert crossings == 0


def test_a_switch_of_a_logarithmic_axis_says_what_is_drawn(
    charts: Tab, browser: Browser, tmp_path: Path
) -> None:
    for model, value in (("maf", -0.001), ("realnvp", 0.002)):
        record = write_toy(tmp_path, model, 0.1)
        record.metrics["energy_distance"].value = value
        save(tmp_path, record)
    file = tmp_path / "index.html"
    file.write_text(built(tmp_path), encoding="utf-8")
    tab = browser.open(f"{file.as_uri()}#y=energy_distance")
    tab.show("tradeoff")
    boxes = "[...document.querySelectorAll('#tradeoff-controls input')].map(b => [b.checked, b.disabled])"
    types = "['xaxis', 'yaxis'].map(a => document.querySelector('#tradeoff-chart').layout[a].type)"
    assert tab.evaluate(types) == ["log", "linear"]
    assert tab.evaluate(boxes)[:2] == [[True, False], [False, True]]
    assert tab.complaints == []
    tab.close()


def test_the_page_and_python_find_the_same_front(charts: Tab) -> None:
    """Times and losses repeat, so that equal losses and times just inside and outside the slack occur."""
    draw = random.Random(0)
    times, losses = (0.5, 1.0, 1.2, 1.25, 1.3, 1.6, 2.0, 3.0), (1.0, 2.0, 3.0, 4.0)
    fields = [
        [(draw.choice(times), draw.choice(losses)) for _ in range(draw.randint(1, 8))] for _ in range(300)
    ]
    found = charts.evaluate(f"""{json.dumps(fields)}.map(points => {{
      const study = {{helper: {{rows: points.map(() => ({{collapsed: ''}}))}}}};
      const values = i => points.map(point => point[i]);
      const column = (i, timed) => ({{direction: 'lower', timed, odd: [], value: values(i)}});
      const rows = points.map((_, index) => ({{index, study}}));
      return zoo.front(rows, column(0, true), column(1, false)).map(row => row.index);
    }})""")
    assert found == [front(points) for points in fields]


def test_a_front_is_thick_in_time_and_strict_in_loss() -> None:
    assert front([(1.0, 2.0), (1.2, 1.0), (2.0, 0.5), (9.0, 0.5)]) == [1, 2]
    assert front([(1.0, 2.0), (1.3, 1.0)]) == [0, 1]


def test_the_ends_of_curves_are_ranked_within_their_kind_of_likelihood(browser: Browser, page: Path) -> None:
    tab = browser.open(page)
    look(tab, "digits", "curves")
    finding = "document.querySelector('#curves-chart-finding').textContent"
    said = tab.evaluate(finding).partition("At the end, each kind of likelihood by itself: ")[2]
    parts = [part.partition(": ") for part in said.partition(". ")[0].split("; ")]
    assert [kind for kind, *_ in parts] == ["exact", "exact†", "≤ bound", "≈ estimate"]
    told = {kind: names.split(", ") for kind, _, names in parts}
    assert [name.split()[:2] for name in told["≤ bound"]] == [["vae", "≤"]]
    assert [name.split()[:2] for name in told["≈ estimate"]] == [
        ["flow_matching", "≈"], ["ffjord", "≈"], ["iresnet", "≈"],
    ]  # fmt: skip
    assert told["exact"][0].startswith("pixelcnn ")
    assert all(name.rstrip(".").endswith("†") for name in told["exact†"])
    names = [name for name, *_ in drawn(tab, "curves")]
    assert {"vae ≤", "flow_matching ≈", "realnvp †", "pixelcnn"} <= set(names)
    tab.evaluate("zoo.set({curve: 'val/loss'}); zoo.idle()")
    tab.settle()
    assert "At the end, of each its own loss and so in no order: " in tab.evaluate(finding)
    assert tab.complaints == []
    tab.close()


def test_names_beside_likelihoods_have_the_marks_of_their_kinds(
    browser: Browser, charts: Tab, page: Path
) -> None:
    look(charts, "rings", "profile")
    names = {name for name, *_ in drawn(charts, "profile")}
    assert {"flow_matching ≈", "maf"} <= names, "in the legend"
    tab = browser.open(page)
    tab.evaluate("zoo.set({strip: 'bits_per_dim'})")
    look(tab, "digits", "stability")
    ticks = "document.querySelector('#stability-chart').layout.yaxis.ticktext"
    assert {"vae ≤", "ffjord ≈", "realnvp †", "pixelcnn"} <= set(tab.evaluate(ticks))
    tab.evaluate("zoo.set({strip: 'latency'})")
    tab.settle()
    assert "vae" in tab.evaluate(ticks), "a time has no kind"
    tab.close()


def test_one_far_model_does_not_flatten_the_chart_of_sharpness(window: Tab) -> None:
    look(window, "digits", "sharpness")
    chart = "document.querySelector('#sharpness-chart')"
    traces = window.evaluate(
        f"{chart}.data.map(t => [t.name.split(',')[0], t.marker?.symbol, t.x[0], t.y[0]])"
    )
    placed = {name: (symbol, x, y) for name, symbol, x, y in traces[1:]}
    assert {name for name, (symbol, _, _) in placed.items() if symbol == "arrow-right"} == {"gan"}
    assert {name for name, (symbol, _, _) in placed.items() if symbol == "arrow-up"} == {
        "ffjord",
        "iresnet",
        "maf",
    }
    assert placed["glow"][1:] == (0.4, 0.7), "what is near stands where it is"
    left, right = window.evaluate(f"{chart}._fullLayout.xaxis.range")
    assert left < 0 < placed["gan"][1] < right < 2
    low, high = window.evaluate(f"{chart}._fullLayout.yaxis.range")
    assert 10**low < 0.7 < placed["ffjord"][2] < 10**high < 5
    frame = window.evaluate(f"{BOX}({chart}.getBoundingClientRect())")
    labels = labels_of(window, "sharpness")
    assert {name for name, _ in labels} == {"gan: 40 px", "ffjord: 90", "iresnet: 80", "maf: 70"}
    for _, (left, top, right, bottom) in labels:
        assert frame[0] <= left < right <= frame[2], "the number is read in full"
        assert frame[1] <= top < bottom <= frame[3]
    for (_, one), (_, other) in itertools.combinations(labels, 2):
        assert min(overlap(one, other)) <= 0, "no number on another"
    (said,) = window.evaluate("[document.querySelector('#sharpness-chart-finding').textContent]")
    assert "gan 40.00 px" in said
    assert "Beyond the edge, with an arrow and the value: 4 models." in said


def test_every_point_of_the_sharpness_is_named_and_has_a_look_of_its_own(window: Tab) -> None:
    look(window, "digits", "sharpness")
    chart = "document.querySelector('#sharpness-chart')"
    points = window.evaluate(f"{chart}.data.slice(1).map(t => [t.name, t.marker.color, t.marker.symbol])")
    near = [point[1:] for point in points if not point[2].startswith("arrow")]
    assert len({*map(tuple, near)}) == len(near) >= 8
    symbols = {name: symbol for name, _, symbol in points}
    assert symbols["vae (lr 0.01)"] == f"{symbols['vae']}-open", "the marker is the model's"
    legend = window.evaluate(f"[...{chart}.querySelectorAll('.legendtext')].map(n => n.textContent)")
    assert legend == ["real images, blurred", *(name for name, *_ in points)]
    bottom = f"{chart}.getBoundingClientRect().bottom"
    last = f"[...{chart}.querySelectorAll('.legendtext')].at(-1).getBoundingClientRect().bottom"
    assert window.evaluate(f"{last} <= {bottom}"), "all of the legend is seen"


def test_markers_of_rows_that_would_look_alike_differ(charts: Tab) -> None:
    look(charts, "digits", "sharpness")
    rows = "[...zoo.rowsOf(zoo.current()).filter(r => r.model === 'vae' && !r.stands)]"
    copies = f"{rows}.flatMap(r => [...Array(9)].map(() => ({{...r}})))"
    symbols = charts.evaluate(f"[...zoo.markersOf({copies}).values()]")
    assert len(symbols) == len({*symbols}) == 9


def test_no_name_stands_on_the_words_of_the_floor(window: Tab) -> None:
    look(window, "digits", "tradeoff")
    at_the_rightmost_point = 15.9
    window.evaluate(f"zoo.columnOf(zoo.current(), 'fd/digits-cnn').floor = {at_the_rightmost_point}")
    window.evaluate("zoo.set({pins: [zoo.rowsOf(zoo.current())[0].id]})")
    window.settle()
    window.evaluate("zoo.idle()")
    labels = labels_of(window, "tradeoff")
    (floor,) = (box for text, box in labels if text.startswith("real data"))
    for text, box in labels:
        if not text.startswith("real data"):
            across, down = overlap(floor, box)
            assert across <= 1 or down <= 3, text


def test_a_label_that_is_cut_has_an_ellipsis(charts: Tab) -> None:
    for wide, words in ((1000, "a long name"), (40, "a lon…")):
        assert charts.evaluate(f"zoo.cut('a long name', {wide})") == words
    assert charts.evaluate("zoo.widthOf(zoo.cut('a long name', 40)) <= 40")


def test_sequential_evaluations_against_dimensions_are_of_one_number_of_updates(charts: Tab) -> None:
    sizes = [(16, 2, 5, "p"), (64, 9, 300, "p"), (64, 8, 5, "p"), (4, 1, 5, "p"), (4, 7, 5, "q")]
    keys = ("size", "value", "trained", "protocol")
    found = charts.evaluate(f"zoo.alike({json.dumps([dict(zip(keys, one, strict=True)) for one in sizes])})")
    assert found["points"] == [[4, 1], [16, 2], [64, 8]]
    assert found["trained"] == 5
    assert charts.evaluate("zoo.alike([{size: 64, value: 1}, {size: 64, value: 2}])") is None
    look(charts, "digits", "scaling")
    charts.evaluate("zoo.set({scale: 'evaluations'})")
    charts.settle()
    assert "No visible row was measured at several numbers of dimensions" in charts.evaluate(
        "document.querySelector('#scaling-chart-finding').textContent"
    )
    assert charts.evaluate("document.querySelector('#scaling-controls select').value") == "evaluations"
    charts.evaluate("zoo.set({scale: 'batch'})")


def test_places_over_data_sets_are_within_a_kind_and_a_cell_opens_its_own_study(charts: Tab) -> None:
    look(charts, "rings", "profile")
    places = charts.evaluate(
        "zoo.placed(zoo.divergences()).map(one => [one.row.model, one.within, Object.fromEntries(one.place)])"
    )
    found = {model: (within, place) for model, within, place in places}
    label = next(name for name in found["glow"][1] if name.startswith("rings"))
    assert found["glow"] == (1, {label: [1, 12]})
    assert found["maf"][1][label] == [2, 12]
    assert found["flow_matching"][1][label] == [1, 1], "an estimate is placed among estimates"
    assert set(list(found)[:2]) == {"glow", "flow_matching"}
    said = charts.evaluate("document.querySelector('#profile-chart-finding').textContent")
    assert "flow_matching ≈ 100 % (not run on moons), glow 100 % (not run on moons)" in said
    assert "maf 50 %, " in said, "its second divergence is above τ"
    cells = "r => [...r.cells].map(c => c.textContent)"
    rows = charts.evaluate(f"[...document.querySelectorAll('#profile-box tbody tr')].map({cells})")
    (glow,) = (row for row in rows if row[0] == "glow")
    assert (glow[1], glow[-1]) == ("1 of 1", "not run")
    (maf,) = (row for row in rows if row[0] == "maf")
    assert maf[1] == "1 of 2"
    steps = charts.evaluate("document.querySelector('#profile-chart').data.map(t => [t.name, t.y.at(-1)])")
    assert dict(map(tuple, steps))["glow"] == 1
    assert dict(map(tuple, steps))["maf"] == 1, "both of its data sets lie within the axis"
    assert found["gan"][0] == 0
    charts.evaluate(
        "[...document.querySelectorAll('#profile-box tr')].find(row => row.textContent.includes('maf'))"
        ".querySelector('td:last-child button').click()"
    )
    charts.settle()
    assert "moons" in charts.evaluate("zoo.current().label")
    assert charts.evaluate("document.querySelector('dialog[open]') !== null")
    charts.evaluate("zoo.set({open: '', query: 'glow'})")
    assert [one[0] for one in charts.evaluate("zoo.divergences().map(one => [one.row.model])")] == ["glow"]
    charts.evaluate("zoo.set({query: ''})")


def test_stability_tells_the_lost_runs_as_python_counts_them_and_how_many_are_drawn(
    browser: Browser, page: Path
) -> None:
    tab = browser.open(page)
    look(tab, "digits", "stability")
    finding = "document.querySelector('#stability-chart-finding').textContent"
    ticks = "document.querySelector('#stability-chart').layout.yaxis.ticktext"
    said = tab.evaluate(finding)
    standing = tab.evaluate("zoo.visible().length")
    assert f"of {standing} of {standing + 2} configurations (2 left out by the filters, 1 of them" in said
    assert "1 of 4 runs of maf (1 diverged)" in said
    assert "(1 diverged of 4)" in next(tick for tick in tab.evaluate(ticks) if tick.startswith("maf"))
    tab.evaluate("zoo.set({rows: 'all', status: 'troubled'}); zoo.idle()")
    tab.settle()
    said = tab.evaluate(finding)
    assert "3 of 3 runs of gan" in said
    assert "(3 collapsed)" in said
    assert [tick.split(" (")[-1] for tick in tab.evaluate(ticks)] == ["1 diverged of 4)", "3 collapsed of 3)"]
    tab.close()


def test_a_turn_of_the_order_that_is_not_sure_is_told_as_such(charts: Tab) -> None:
    """Lines that cross within their bands, then where there is none, then surely."""

    def effort(family: str, expected: list[float], half: list[float | None]) -> dict[str, object]:
        pairs = list(zip(expected, half, strict=True))
        return {
            "family": family, "k": [1, 2, 3], "expected": expected,
            "low": [None if h is None else e - h for e, h in pairs],
            "high": [None if h is None else e + h for e, h in pairs],
        }  # fmt: skip

    def said(*efforts: dict[str, object]) -> str:
        return charts.evaluate(f"zoo.turns({json.dumps(efforts)})")

    flow, gan = [5.0, 4.0, 3.9], [9.0, 4.5, 3.0]
    text = said(effort("flow", flow, [1.0, 1.0, 1.0]), effort("gan", gan, [1.0, 1.0, 1.0]))
    assert text.startswith("No turn of the order is sure")
    assert text.endswith("not sure: gan passes flow at k = 3, within the bands.")
    text = said(effort("flow", flow, [1.0, 1.0, None]), effort("gan", gan, [1.0, 1.0, 1.0]))
    assert text.endswith("gan passes flow at k = 3, where not both have a band.")
    text = said(effort("flow", flow, [0.1, 0.1, 0.1]), effort("gan", gan, [0.1, 0.1, 0.1]))
    assert text == "The order turns: flow leads at k = 1, gan from k = 3. "
    bounded = effort("gan", gan, [0.1, 0.1, 0.1]) | {"kind": "lower bound"}
    text = said(effort("flow", flow, [0.1, 0.1, 0.1]) | {"kind": "exact"}, bounded)
    assert text.endswith("No line passes another."), "kinds of likelihood are not ranked against each other"
    told = charts.evaluate(
        "zoo.withoutEffort({...zoo.studyData().studies[0], id: 'x', tuning: [{family: 'flow'}]})"
    )
    assert "takes 4 configurations" in told
    assert "gan (1 configuration)" in told
    assert "flow (" not in told.replace("continuous flow (", "")
