"""The page on paper: few white sheets, with charts and claims drawn though nobody scrolled to them."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from browser import Browser, Tab

from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.page import script_text

SHEETS = 4  # at most
PAGES = sorted((Path(__file__).parents[3] / "results").glob("*/index.html"))


def sheets(tab: Tab) -> int:
    """Return how many sheets the page takes on paper."""
    answer = tab.call("Page.printToPDF", {"preferCSSPageSize": True})
    return len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(answer["data"])))


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_paper_has_few_sheets_though_every_claim_is_judged(
    browser: Browser, judged: Path, width: int, dark: bool
) -> None:
    tab = browser.open(judged, width=width, dark=dark)
    if not dark:  # what a reader has unfolded is not printed either
        tab.evaluate("document.querySelector('#claims').scrollIntoView()")
        tab.wait("Boolean(document.querySelector('details.claim'))")
        tab.evaluate("document.querySelectorAll('details.claim').forEach(row => { row.open = true; })")
    assert 1 <= sheets(tab) <= SHEETS
    assert tab.evaluate("document.querySelectorAll('#claims details').length") > len(all_claims())
    assert tab.complaints == []
    tab.close()


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.parent.name)
def test_a_committed_page_has_few_sheets(browser: Browser, file: Path) -> None:
    if script_text() not in file.read_text(encoding="utf-8"):
        pytest.skip("made by an earlier script")
    tab = browser.open(file)
    assert sheets(tab) <= SHEETS
    tab.close()


def test_paper_is_white_and_has_no_controls(browser: Browser, page: Path) -> None:
    tab = browser.open(page, width=400, dark=True)
    drawn = "document.querySelectorAll('#tradeoff .main-svg, #claims details.claim').length"
    tab.evaluate("scrollTo(0, 0)")
    before = tab.evaluate(drawn)
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.call("Emulation.setEmulatedMedia", {"media": "print"})
    assert tab.evaluate(drawn) > before
    seen = """query => [...document.querySelectorAll(query)].filter(n => n.getClientRects().length).length"""
    for hidden in ("#filter", "nav a", ".controls *", "#curves", "#samples", "button.pin"):
        assert tab.evaluate(f"({seen})('{hidden}')") == 0, hidden
    for shown in (
        "#helper .card h3",
        "#tradeoff .main-svg",
        "#table-main tr[data-row]",
        "#claims h3",
        ".made",
    ):
        assert tab.evaluate(f"({seen})('{shown}')") > 0, shown
    colour = "getComputedStyle(document.body).backgroundColor"
    assert tab.evaluate(colour) == "rgb(255, 255, 255)"
    ink = tab.evaluate("document.querySelector('#tradeoff-chart').layout.font.color")
    assert ink == "#1c2024", "the chart is drawn for white paper"
    addresses = tab.evaluate(
        "[...document.querySelectorAll('a')].map(a => getComputedStyle(a, '::after').content)"
    )
    assert set(addresses) <= {"none"}
    tab.call("Emulation.setEmulatedMedia", {"media": "", "features": []})
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not tab.evaluate("document.documentElement.classList.contains('printing')")
    assert tab.complaints == []
    tab.close()
