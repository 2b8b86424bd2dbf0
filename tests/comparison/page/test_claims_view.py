"""The claims on the page: a row each with its verdict, limits and effect; what was measured is folded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from barriers import violations
from browser import Browser, Tab
from invented import ledger

from zoo.comparison import templates
from zoo.comparison.claims import render
from zoo.comparison.claims.render import badge

ROWS = "[...document.querySelectorAll('#claims details.claim')]"
SHOWN = f"{ROWS}.filter(row => !row.hidden).map(row => row.dataset.verdict)"
LOWEST = 200  # pixels: the most that a row takes on a phone


def opened(browser: Browser, page: Path, width: int = 1400, dark: bool = False) -> Tab:
    """Return the page in a tab whose claims are drawn."""
    tab = browser.open(page, width=width, dark=dark)
    tab.evaluate("document.querySelector('#claims').scrollIntoView()")
    tab.wait(f"{ROWS}.length > 0")
    return tab


@pytest.fixture
def rows(browser: Browser, judged: Path) -> Iterator[Tab]:
    """Return the page of all claims in a tab, which must not have complained at the end."""
    tab = opened(browser, judged)
    yield tab
    assert tab.complaints == []
    tab.close()


def test_a_row_has_the_verdict_with_its_mark_and_its_limits(rows: Tab) -> None:
    told = rows.evaluate(f"{ROWS}.map(row => row.querySelector('.judged').textContent)")
    expected = [f"{badge(one)} exploratory, short budget, kept by {one.robustness:.0%}" for one in ledger()]
    assert told == expected
    assert all("○ " in text for text in told if not text.startswith("undecided"))
    lead = rows.evaluate("document.querySelector('#claims-lead').textContent")
    assert {mark for mark in "●○◌" if mark in lead} == set("●○◌")
    assert "Exploratory" in lead


def test_every_row_draws_its_effect_or_says_what_decides(rows: Tab) -> None:
    seen = rows.evaluate(
        f"{ROWS}.map(row => row.querySelector('summary')).map("
        "row => [Boolean(row.querySelector('svg')), row.querySelector('.words').textContent])"
    )
    assert {drawn for drawn, _ in seen} == {True, False}
    assert all(drawn or "collapsed or diverged seeds 5 of 5" in words for drawn, words in seen)
    assert any("[0.945, 1.005]" in words for _, words in seen), "the end of the interval lies above 1"
    assert any("(a test without an interval)" in words for _, words in seen)


def test_the_zone_that_a_claim_names_is_shaded_around_no_effect(rows: Tab) -> None:
    part = "document.querySelector('#claims details.claim summary .{}').getBoundingClientRect()"
    zone, axis, whisker = (rows.evaluate(f"(b => [b.left, b.right])({part.format(name)})") for name in
                           ("zone", "axis", "whisker"))  # fmt: skip
    assert zone[0] < whisker[0] < axis[0] < whisker[1] < zone[1]


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_rows_are_low_fold_by_key_and_raise_no_barrier(
    browser: Browser, judged: Path, width: int, dark: bool
) -> None:
    tab = opened(browser, judged, width, dark)
    heights = tab.evaluate(f"{ROWS}.map(row => row.getBoundingClientRect().height)")
    assert max(heights) < (LOWEST if width == 400 else LOWEST / 3)
    assert violations(tab) == []
    tab.evaluate(f"{ROWS}[3].querySelector('summary').focus()")
    tab.press("Enter")
    assert tab.evaluate(f"{ROWS}.map(row => row.open).indexOf(true)") == 3
    assert "with all its numbers" in tab.evaluate(f"{ROWS}[3].querySelector('.proof').innerText")
    assert violations(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.complaints == []
    tab.close()


def test_the_verdict_that_is_asked_for_is_in_the_address_and_undone_by_reset(
    browser: Browser, rows: Tab
) -> None:
    rows.evaluate(f"{ROWS}[0].open = true")
    rows.evaluate("""(box => { box.value = 'undecided'; box.dispatchEvent(new Event('change')); })
      (document.querySelector('#claims-controls select'))""")
    assert set(rows.evaluate(SHOWN)) == {"undecided"}
    again = browser.open(rows.evaluate("location.href"))
    again.evaluate("document.querySelector('#claims').scrollIntoView()")
    again.wait(f"{ROWS}.length > 0")
    assert set(again.evaluate(SHOWN)) == {"undecided"}
    assert again.evaluate("document.querySelector('#claims-controls select').value") == "undecided"
    again.close()
    rows.call("Page.bringToFront")
    rows.evaluate(
        "[...document.querySelectorAll('#filter button')].find(b => b.textContent === 'reset').click()"
    )
    assert rows.evaluate("document.activeElement.id") == "search", "the button that had the focus is gone"
    rows.evaluate("document.querySelector('#claims').scrollIntoView()")
    rows.wait(f"{SHOWN}.length === {ROWS}.length")
    assert rows.evaluate("document.querySelector('#claims-controls select').value") == "all"
    assert rows.evaluate(f"{ROWS}[0].open"), "what was unfolded stays so"


def test_an_address_that_names_a_claim_unfolds_it_whatever_verdict_was_asked_for(
    browser: Browser, judged: Path
) -> None:
    named = "zoo.studyData().claims.find(one => one.verdict === 'supported')"
    tab = browser.open(judged)
    name = tab.evaluate(f"`${{{named}.key}}~${{{named}.study}}`")
    tab.evaluate(f"zoo.set({{verdict: 'undecided'}}); zoo.set({{claim: {name!r}}})")
    assert tab.evaluate(f"{ROWS}.filter(row => row.open).map(row => row.id)") == [f"claim-{name}"]
    assert tab.evaluate("document.activeElement.parentElement.id") == f"claim-{name}"
    assert tab.evaluate("zoo.state.verdict") == "all"
    tab.close()


def test_the_ledgers_own_page_raises_no_barrier(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "claims.html"
    text = templates.shell("The lecture's claims", render.section(ledger(), {}))
    file.write_text(text, encoding="utf-8")
    tab = browser.open(file)
    assert violations(tab) == []
    tab.close()
