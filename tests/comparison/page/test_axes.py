"""Every logarithmic axis can be read: labels of at least three values, none on another."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from browser import Browser, Tab

TICKS = """(chart => ['x', 'y'].filter(a => chart.layout[`${a}axis`].type === 'log').map(a =>
  [a, [...chart.querySelectorAll(`.${a}tick text`)].map(tick => {
    const box = tick.getBoundingClientRect();
    return [tick.textContent, box.left, box.top, box.right, box.bottom];
  })]))"""


def readable(tab: Tab, chart: str) -> dict[str, list[float]]:
    """Return the labelled values of a chart's logarithmic axes, which do not overlap."""
    tab.settle()
    tab.evaluate("zoo.idle()")
    tab.settle()
    found = {}
    for axis, ticks in tab.evaluate(f"{TICKS}(document.querySelector('#{chart}-chart'))"):
        for (_, *one), (_, *other) in itertools.combinations(ticks, 2):
            across = min(one[2], other[2]) - max(one[0], other[0])
            down = min(one[3], other[3]) - max(one[1], other[1])
            assert across <= 0 or down <= 0, (axis, ticks)
        found[axis] = [float(text.replace(",", "")) for text, *_ in ticks]
        assert found[axis] == sorted(found[axis]), axis
        assert len({*found[axis]}) >= 3, (axis, ticks)
    return found


@pytest.mark.parametrize("width", [1400, 400])
def test_a_logarithmic_axis_has_three_labels_whatever_it_shows(
    browser: Browser, page: Path, width: int
) -> None:
    tab = browser.open(page, width=width)
    tab.show("tradeoff")
    keys = tab.evaluate(
        "[...document.querySelectorAll('#tradeoff-controls select')].at(-1).options.length && "
        "[...[...document.querySelectorAll('#tradeoff-controls select')].at(-1).options].map(o => o.value)"
    )
    assert {"bits_per_dim", "fd/digits-cnn"} <= {*keys}
    short = 0
    for key in keys:
        tab.evaluate(f"zoo.set({{y: '{key}'}})")
        found = readable(tab, "tradeoff")
        assert set(found) <= {"x", "y"}
        short += "y" in found and found["y"][-1] < 10 * found["y"][0]
    assert short >= 3, "axes of less than a decade are among them"
    for section, change in (
        ("curves", "{curve: 'val/bits_per_dim', bandsLog: true}"),
        ("stability", "{strip: 'latency'}"),
    ):
        tab.evaluate(f"zoo.set({change})")
        tab.show(section)
        assert readable(tab, section), section
    assert tab.complaints == []
    tab.close()


def test_a_part_that_the_reader_zooms_into_has_labels_of_its_own(browser: Browser, page: Path) -> None:
    tab = browser.open(page)
    tab.evaluate("zoo.set({curve: 'val/bits_per_dim', bandsLog: true})")
    tab.show("curves")
    whole = readable(tab, "curves")["y"]
    tab.evaluate(
        "Plotly.relayout('curves-chart', {'yaxis.range': [Math.log10(2), Math.log10(2.1)]}).then(() => true)"
    )
    part = readable(tab, "curves")["y"]
    assert all(2 <= value <= 2.1 for value in part)
    tab.evaluate(
        "[...document.querySelectorAll('#curves-controls button')]"
        ".find(b => b.textContent === 'whole').click()"
    )
    tab.wait("document.querySelector('#curves-chart').layout.yaxis.tickvals.at(-1) > 2.1")
    assert readable(tab, "curves")["y"][0] <= whole[0] + 0.2
    tab.close()
