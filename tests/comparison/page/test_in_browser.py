"""What a reader does with the page, in a real browser."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re

import numpy as np
import pytest
from barriers import violations
from fake_records import save, write, write_toy
from invented import HOSTILE, built
from scipy import stats

from zoo.comparison.lines import BEFORE_UNIT
from zoo.comparison.statistics import holm, welch
from zoo.comparison.tables import number
from zoo.record import LIKELIHOOD, DataDescription

OPEN_SHEET = "document.querySelector('#sheet').open"


HELPERS = """
window.lines = () => [...document.querySelectorAll('#table-main tr[data-row]')];
window.line = model => lines().find(line => line.dataset.row.startsWith(`${model}~`));
window.row = start => {
  const found = zoo.rowsOf(zoo.current());
  return found.find(row => row.id === start) || found.find(row => row.id.startsWith(start));
};
window.column = key => zoo.columnOf(zoo.current(), key);
window.words = query =>
  [...document.querySelectorAll(query)].map(node => node.textContent.replaceAll('\\u00a0', ' '));
"""


@pytest.fixture
def tab(tab):
    """Return the page with short names for what the tests look at."""
    tab.evaluate(HELPERS)
    return tab


def test_the_bar_is_one_line_and_cuts_no_text_at_a_desk(tab):
    tab.evaluate("zoo.set({pins: zoo.rowsOf(zoo.current()).slice(0, 2).map(row => row.id), sort: 'latency'})")
    buttons = tab.evaluate("words('#filter-pins button')")
    assert buttons == ["2 pinned: unpin", "reset", "copy link"]
    boxes = "[...document.querySelectorAll('#filter-all > *')].map(node => node.getBoundingClientRect())"
    centres = tab.evaluate(f"{boxes}.map(box => (box.top + box.bottom) / 2)")
    assert max(centres) - min(centres) < 8, "nothing wraps into a second line"
    free = tab.evaluate("""[...document.querySelectorAll('#filter select, #search')].map(node => {
      const style = getComputedStyle(node), pen = document.createElement('canvas').getContext('2d');
      pen.font = `${style.fontSize} ${style.fontFamily}`;
      const words = node.tagName === 'SELECT' ? node.selectedOptions[0].textContent : node.placeholder;
      const arrow = node.tagName === 'SELECT' ? 16 : 0;
      return node.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - arrow
        - pen.measureText(words).width;
    })""")
    assert len(free) == 3
    assert min(free) > -1, "the choice and the placeholder are read in full"


def rows(tab):
    return tab.evaluate("lines().map(line => line.dataset.row)")


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (400, False), (400, True)])
def test_the_page_opens_without_a_request_a_complaint_or_a_barrier(browser, page, width, dark):
    tab = browser.open(page, width=width, dark=dark)
    tab.show("tradeoff")
    assert violations(tab) == [], "with a chart"
    tab.evaluate("document.querySelector('#table-main tbody td button.cell').click()")
    tab.wait(OPEN_SHEET)
    assert violations(tab) == [], "with the sheet open"
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    tab.press("Escape")
    tab.wait(f"!{OPEN_SHEET}")
    tab.evaluate("document.querySelector('#filter').classList.add('open')")
    tab.evaluate("for (const node of document.querySelectorAll('details')) node.open = true")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "nor anything that was opened"
    assert tab.requests == []
    assert tab.complaints == []
    tab.close()


def test_no_line_ends_between_a_number_and_its_unit(browser, page):
    """Of all texts but commands, in every section, with the helper's question narrowed and a sheet open."""
    tab = browser.open(page, width=400)
    for section in ("tradeoff", "curves", "stability", "profile"):
        tab.show(section)
    tab.evaluate("zoo.idle()")
    tab.evaluate("zoo.set({latency: '10 ms', likelihood: 'bound'})")
    tab.evaluate("for (const node of document.querySelectorAll('details')) node.open = true")
    tab.evaluate("document.querySelector('#table-main tbody td button.cell').click()")
    tab.wait(OPEN_SHEET)
    texts = tab.evaluate("""(() => {
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
      const skipped = 'script, style, noscript, code, svg, textarea';
      while (walker.nextNode()) {
        const node = walker.currentNode;
        if (!node.parentNode.closest(skipped)) found.push(node.data.replaceAll('\\u00a0', '_'));
      }
      return found;
    })()""")
    words = "\n".join(texts)
    held = ("_ms", "_%", "_samples/s", "_parameters", "_±_", "≤_", "≈_", "_seeds", "n_=_", ",_1.0")
    assert [one for one in held if one not in words] == [], "each is somewhere on the page"
    loose = re.findall(
        rf".*(?:{BEFORE_UNIT.pattern}|\d parameters|\d ±|[±≤≥≈] \d|\bn [=_]|\[[\d.]+, [\d.]+\]).*", words
    )
    assert loose == []
    tab.close()


@pytest.mark.parametrize("width", [1400, 400])
def test_no_section_of_eight_data_sets_is_wider_than_the_page(browser, tmp_path, width):
    for place in range(8):
        for model in ("maf", "realnvp"):
            write_toy(tmp_path, model, 0.1, f"swissrolls_of_{place}_turns_each")
    file = tmp_path / "toys.html"
    file.write_text(built(tmp_path), encoding="utf-8")
    tab = browser.open(file, width=width)
    sections = (
        "[...document.querySelectorAll('main > section')].filter(one => !one.hidden).map(one => one.id)"
    )
    visited = tab.evaluate(sections)
    assert "profile" in visited
    for section in visited:
        tab.evaluate(f"document.querySelector('#{section}').scrollIntoView()")
        tab.settle()
        tab.evaluate("zoo.idle().then(() => true)")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, section
    tab.wait("Boolean(document.querySelector('#profile-box thead th'))")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        len(tab.evaluate("[...document.querySelectorAll('#profile-box thead th')].map(h => h.textContent)"))
        == 3 + 8
    )
    tab.close()


def test_on_a_phone_the_slide_stands_first_and_the_facts_are_folded(browser, page):
    tab = browser.open(page, width=400)
    tab.evaluate("zoo.studyData().warnings.push(...Array(4).fill('A sentence of caution. '.repeat(9)))")
    tab.evaluate(
        "zoo.set({study: zoo.studyData().studies.at(-1).id}); zoo.set({study: zoo.studyData().studies[0].id})"
    )
    top = "document.querySelector('#slide').getBoundingClientRect().top"
    assert tab.evaluate(top) < 400
    assert tab.evaluate("document.querySelector('#about-said').textContent").startswith(
        "About these records, and 4"
    )
    tab.evaluate("document.querySelector('#about-said').click()")
    tab.wait(f"{top} > 600")
    tab.close()
    desk = browser.open(page)
    assert desk.evaluate("document.querySelector('#about').open")
    assert desk.evaluate("getComputedStyle(document.querySelector('#about-said')).display") == "none"
    desk.close()


def test_a_script_that_is_not_the_pages_own_does_not_run(browser, page, tmp_path):
    hurt = tmp_path / "hurt.html"
    text = page.read_text(encoding="utf-8").replace("</body>", "<script>window.hit = 1</script></body>")
    hurt.write_text(text, encoding="utf-8")
    tab = browser.open(hurt)
    assert tab.evaluate("window.hit") is None
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)
    tab.close()


def test_hostile_names_are_shown_as_they_are_and_do_nothing(tab):
    tab.evaluate("zoo.set({rows: 'all', query: 'onerror'})")
    assert tab.evaluate("words('#table-main tr[data-row] .cell.text')") == [HOSTILE]
    tab.show("tradeoff")
    tab.evaluate("document.querySelector('#table-main tr[data-row] .cell.text').click()")
    assert tab.evaluate("words('#sheet-title')") == [HOSTILE]
    assert tab.evaluate("document.querySelectorAll('img').length") == 0
    assert tab.evaluate("window.hit") is None


def test_sorting_never_puts_different_kinds_into_one_order(tab):
    tab.evaluate("zoo.set({sort: 'bits_per_dim', rows: 'all'})")
    question = "zoo.blocks().map(b => [b.kind, b.rows.map(r => column('bits_per_dim').value[r.index])])"
    blocks = tab.evaluate(question)
    assert [kind for kind, _ in blocks] == ["exact", "exact†", "lower bound", "estimate", ""]
    for _, values in blocks[:-1]:
        assert values == sorted(values)
    assert len(tab.evaluate("words('#table-main tr.block')")) == len(blocks)
    tab.evaluate("zoo.set({sort: '-bits_per_dim'})")
    assert tab.evaluate(question) == [[kind, values[::-1]] for kind, values in blocks[:-1]] + blocks[-1:]


def test_a_bound_below_exact_values_is_better_and_never_the_reverse(tab):
    tab.evaluate("zoo.set({sort: 'bits_per_dim', rows: 'all'})")
    (note,) = tab.evaluate("words('#table-main tr.block .note')")
    assert note.strip().startswith("vae (≤ 1.951 ± 0.012 [3]) is better than the exact values of ")
    assert "pixelcnn" not in note, "its mean, 1.95, is too near for the test"
    assert "glow: a one-sided test of each bound against each exact value, by Holm at 5 %" in note


def test_a_bound_that_is_nearly_tied_with_an_exact_value_is_not_called_better(browser, tmp_path):
    for seed in range(5):
        noise = 0.008 * (seed - 2)
        write(tmp_path / "runs", "maf", "flow", "exact", 2.0061 + noise, seed)
        write(tmp_path / "runs", "far", "flow", "exact", 2.3 + noise, seed)
        write(tmp_path / "runs", "vae", "vae", "lower bound", 1.9994 - noise, seed)
    file = tmp_path / "index.html"
    file.write_text(built(tmp_path / "runs"), encoding="utf-8")
    tab = browser.open(file)
    tab.evaluate("zoo.set({sort: 'bits_per_dim'})")
    note = tab.evaluate("document.querySelector('#table-main tr.block .note').textContent")
    assert "is better than the exact values of far: a one-sided test" in note
    tab.close()


def test_everything_is_reached_by_the_keyboard_alone(tab):
    tab.press("Tab")
    tab.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "helper-h", "the first stop skips to the helper"
    tab.press("Tab")
    assert tab.evaluate("Boolean(document.activeElement.closest('#helper-controls'))")
    tab.evaluate("document.querySelectorAll('a.skip')[1].focus()")
    tab.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "table-h", "the second to the table"
    for _ in range(40):
        tab.press("Tab")
        if tab.evaluate("Boolean(document.activeElement.closest('#table-main tbody'))"):
            break
    tab.press("ArrowDown", 2)
    tab.press("ArrowRight", 2)
    here = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    tab.press("Enter")
    assert tab.wait(OPEN_SHEET)
    name, heading = here.split(": ")[0].rsplit(", ", 1)
    assert tab.evaluate("document.querySelector('#sheet-title').textContent") == f"{name} · {heading}"
    tab.press("Escape")
    tab.wait(f"!{OPEN_SHEET}")
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == here, "the focus comes back"
    tab.press("/")
    tab.type("pixel")
    tab.wait("document.querySelectorAll('#table-main tr[data-row]').length === 1")


def test_an_address_brings_the_same_view_again(tab, browser, page):
    tab.evaluate(
        "zoo.set({query: 'flow', sort: '-latency', group: 'sampling', hidden: ['gan'], rows: 'all', "
        "pins: [zoo.rowsOf(zoo.current())[1].id], differs: true, y: 'sharpness', linear: ['x'], guard: 7})"
    )
    address = tab.evaluate("location.href")
    again = browser.open(address)
    again.evaluate(HELPERS)
    assert again.evaluate("JSON.stringify(zoo.state)") == tab.evaluate("JSON.stringify(zoo.state)")
    assert rows(again) == rows(tab)
    assert again.evaluate("zoo.address()") == tab.evaluate("zoo.address()")
    again.close()


@pytest.mark.parametrize("cut", ["c=bits_per_dim%2Cfd%252", "p=%25zz&q=maf", "e=%&s=%25", "A=%ff&c=,,%25%2C"])
def test_a_link_that_was_cut_or_mangled_opens_the_page(browser, page, cut):
    tab = browser.open(f"{page.as_uri()}#{cut}")
    tab.evaluate(HELPERS)
    assert len(rows(tab)) == (1 if "maf" in cut else 10)
    assert tab.evaluate("words('#table-main thead th').some(words => words.startsWith('bits/dim'))")
    tab.show("tradeoff")
    assert tab.complaints == []
    tab.close()


def test_no_value_of_any_field_of_the_address_breaks_the_page(tab):
    tab.show("helper")
    keys = tab.evaluate("zoo.addressKeys")
    assert {"s", "c", "hw", "ax", "k"} <= set(keys)
    filters = {"q", "r", "st", "f"}  # they may leave nothing to draw
    for junk in ("", "constructor", "-1", "1e999", "0.5", "|", "a|b|c", "%25", ",,", "own"):
        tab.evaluate(f"location.hash = '{'&'.join(f'{key}={junk}' for key in keys if key not in filters)}'")
        tab.settle()
        tab.evaluate("zoo.idle()")
        assert tab.complaints == [], junk
        assert len(rows(tab)) == 10
    for field, value in (("ax", "updates"), ("k", 1), ("hw", "")):
        name = {"ax": "axis", "k": "budget", "hw": "prefer"}[field]
        tab.evaluate(f"location.hash = '{field}=nonsense'")
        tab.settle()
        assert tab.evaluate(f"zoo.state.{name}") == value


def test_the_sheet_of_a_number_has_its_seeds_command_and_differences(tab):
    tab.evaluate("zoo.set({baseline: row('glow~glow').id})")
    tab.evaluate("zoo.set({open: `${row('glow~glow-wide').id}|bits_per_dim`})")
    (text,) = tab.evaluate("words('#sheet-body')")
    for part in ("0: 2.2 · 1: 2.21 · 2: 2.22", "zoo train model=glow", "training.lr", "0.01", "unset"):
        assert part in text
    assert "all 360 test examples" not in text, "the records do not hold the protocol"
    assert "360 test examples scored" in text
    assert "exact: of 360 test examples" in text
    assert "computed without approximation" not in text, "the kind is told once"
    assert text.partition("As this number")[0].count("exact") == 1
    shown = tab.evaluate(
        "(() => { const body = document.querySelector('#sheet-body').cloneNode(true);"
        "body.querySelectorAll('details').forEach(one => one.remove()); return body.textContent; })()"
    )
    assert "kind: " not in shown, "raw keys are folded away"
    assert "kind: exact; n: 360" in text
    for heading in ("protocol", "versions", "data", "directories", "config hash"):
        assert heading in text
    assert text.count("this number: 2.05±0.01 bits/dim; Nobody 2026") == 1, "three seeds, one published value"
    tab.evaluate("zoo.set({open: `${row('maf').id}|bits_per_dim`})")
    assert "Published" not in tab.evaluate("words('#sheet-body')")[0]


def test_a_baseline_shows_differences_and_kinds_that_do_not_compare(tab):
    tab.evaluate("zoo.set({baseline: row('pixelcnn').id})")
    delta = "line({!r}).cells[{}].querySelector('.delta')?.textContent"
    assert tab.evaluate(delta.format("pixelcnn", 1)) is None
    assert tab.evaluate(delta.format("vae", 1)) == "another kind"
    distance = tab.evaluate(delta.format("vae", 2))
    assert re.fullmatch(r"−4\.\d+ ± 0\.\d+ \(×0\.\d+\)", distance), (
        "a minus sign, then value and error with equal digits"
    )
    exact = tab.evaluate(delta.format("glow", 1))
    assert re.fullmatch(r"\+0\.\d{4} ± 0\.\d{4}", exact)
    assert "Differences are to pixelcnn" in tab.evaluate("zoo.tableTexts().notes.join()")
    seq = "zoo.tableTexts().rows.find(row => row.cells[0].text === 'glow').cells.at(-3).delta"
    assert "±" not in tab.evaluate(seq), "a count has no error"


def test_differences_of_likelihoods_are_paired_over_the_test_examples(browser, tmp_path):
    rng = np.random.default_rng(0)
    base = 30 * rng.normal(size=200)
    for model, shift in (("glow", 0.0), ("maf", 0.5)):
        record = write(tmp_path / "runs", model, "flow", value=2.0 + shift)
        record.provenance.data = DataDescription(name="digits", shape=[1, 8, 8])
        directory = save(tmp_path / "runs", record)
        np.savez(directory / LIKELIHOOD, values=base - shift + rng.normal(size=200), indices=np.arange(200))
    file = tmp_path / "index.html"
    file.write_text(built(tmp_path / "runs"), encoding="utf-8")
    tab = browser.open(file)
    (pair,) = tab.evaluate("zoo.columnOf(zoo.current(), 'bits_per_dim').paired")
    assert abs(pair[2]) == pytest.approx(0.5 / (64 * math.log(2)), abs=3 * pair[3])
    assert pair[3] == pytest.approx(math.sqrt(2 / 200) / (64 * math.log(2)), rel=0.2), "30 nats cancel"
    tab.close()


def test_helper_trade_off_and_table_have_one_scope(tab):
    tab.evaluate("zoo.set({query: 'maf'}); zoo.idle()")
    tab.show("helper")
    named = "words('#helper-box .card h3 button')"
    tab.wait(f"JSON.stringify({named}) === '[\"maf\"]'")
    scope = "the 1 of 12 configurations that the search and the filters leave"
    assert scope in tab.evaluate("words('#helper-box .certainty')")[0]
    tab.show("tradeoff")
    tab.wait(f"words('#tradeoff')[0].includes('front of {scope}')")
    tab.evaluate("zoo.set({query: 'zzzz'}); zoo.idle()")
    for view in ("helper", "table"):
        tab.wait(f"words('#{view} .warnbox').some(one => one.startsWith('Nothing matches'))")
    tab.evaluate("document.querySelector('#table .warnbox button').click()")
    assert tab.evaluate("zoo.state.query") == ""
    assert len(rows(tab)) > 5


def test_what_was_timed_elsewhere_is_crossed_out_in_the_trade_off(browser, tmp_path):
    for model in ("glow", "maf", "away"):
        for seed in range(2):
            record = write(tmp_path / "runs", model, "flow", seed=seed, fd=3.0 + seed)
            record.sampling.device = "NVIDIA H200" if model == "away" else "cpu"
            save(tmp_path / "runs", record)
    file = tmp_path / "index.html"
    file.write_text(built(tmp_path / "runs"), encoding="utf-8")
    tab = browser.open(file)
    tab.show("tradeoff")
    crossed = "document.querySelector('#tradeoff-chart').data.filter(t => t.marker?.symbol === 'x-thin-open')"
    assert tab.evaluate(f"{crossed}.map(t => t.x.length)") == [1]
    assert "measured on another device" in tab.evaluate("document.querySelector('#tradeoff').textContent")
    tab.close()


def test_a_collapsed_model_is_marked_filled_nowhere_and_off_the_front(tab):
    tab.evaluate("zoo.set({rows: 'all', sort: 'latency'})")
    assert tab.evaluate("zoo.collapsed(row('gan~gan-dead'))")
    assert rows(tab)[-1].startswith("gan~gan-dead"), "it is the fastest, and in no best"
    assert tab.evaluate("words('#table-main tr[data-row] .chip.bad')") == ["collapsed"]
    assert tab.evaluate("lines().at(-1).querySelectorAll('.tied').length") == 0
    front = "zoo.front(zoo.rowsOf(zoo.current()), column('latency'), column(zoo.current().quality))"
    answer = tab.evaluate(f"{front}.map(row => row.id)")
    assert "gan~gan" in answer
    assert not any("dead" in name for name in answer)
    for factor in (20, 1000):
        tab.evaluate(f"zoo.set({{guard: {factor}}})")
        assert bool(tab.evaluate("zoo.collapsed(row('gan~gan-dead'))")) == (factor == 20)
    assert any("dead" in name for name in tab.evaluate(f"{front}.map(row => row.id)"))


def test_a_cell_is_filled_where_every_other_is_worse_and_hatched_where_no_test_decides(tab):
    answer = tab.evaluate(
        "[...document.querySelectorAll('#table-main tr[data-row]')].map(r => [r.dataset.row.split('~')[0],"
        " r.cells[1].className, r.cells[1].querySelector('.letters')?.textContent ?? ''])"
    )
    cells = {model: (kind, letters) for model, kind, letters in answer}
    assert cells["realnvp"][0] == "best"
    assert cells["realnvp"][1].startswith("a")
    assert cells["maf"][0] == "", "a test tells it from the best"
    assert cells["vae"] == ("", ""), "the only one of its kind has no rival"
    assert not tab.evaluate("words('#table-main td.tied sup').some(letters => !letters.includes('a'))")
    marks = tab.evaluate("""zoo.current().columns.flatMap(column => {
      zoo.set({columns: [column.key]});
      return ['exact', 'exact†', 'lower bound', 'estimate', ''].map(kind => lines()
        .filter(one => !column.likelihood || column.kind[row(one.dataset.row.split('~')[0]).index] === kind)
        .map(one => [one.cells[1].className, one.cells[1].querySelector('.letters')?.textContent ?? '']))
        .slice(column.likelihood ? 0 : 4);
    })""")
    seen = set()
    for block in marks:
        lettered = [(mark, letters) for mark, letters in block if letters]
        kinds = {mark for mark, letters in lettered if "a" in letters}
        seen |= kinds
        if sum("a" in letters for _, letters in lettered) > 1:
            assert kinds <= {"tied", ""}, "a tie is filled nowhere"
        else:
            assert kinds <= {"best", ""}, "what is alone in its group is no tie"
    assert {"tied", "best"} <= seen
    style = "getComputedStyle(document.querySelector('#table-main td.{}')).{}"
    tab.evaluate("zoo.set({columns: zoo.current().columns.map(column => column.key)})")
    assert "gradient" in tab.evaluate(style.format("tied", "backgroundImage"))
    assert tab.evaluate(style.format("best", "backgroundImage")) == "none"
    notes = " ".join(tab.evaluate("words('#table-notes li')"))
    assert "Filled: the best for sure" in notes
    assert "Hatched: not told apart from the best" in notes


def test_a_verdict_of_the_slide_that_no_test_decides_looks_like_no_sure_one(tab):
    looks = tab.evaluate(
        "[...document.querySelectorAll('#slide .chip')].map(c => [c.textContent, c.className])"
    )
    assert {"yes", "undecided"} <= {word for word, _ in looks}
    expected = {"yes": "good", "no": "bad", "undecided": "open"}
    assert all(look == f"chip {expected.get(word, 'warn')}" for word, look in looks)
    said = tab.evaluate("words('#slide-box')")[0]
    assert "0.8 to 1.25 times the sharpness of real images" in said
    assert "with one there is no test" in said


def test_copies_hold_exactly_what_is_shown(tab):
    tab.evaluate("zoo.set({rows: 'all', sort: 'latency', group: 'sampling', differs: true})")
    shown = rows(tab)
    table = list(csv.reader(io.StringIO(tab.evaluate("zoo.COPIES.CSV()"))))
    assert len(table) == 1 + len(shown)
    assert {len(line) for line in table} == {len(table[0])}
    assert HOSTILE in [line[0] for line in table]
    assert "training.lr" in table[0]
    markdown = tab.evaluate("zoo.COPIES.Markdown()").splitlines()
    assert markdown[4 + len(shown)] == ""
    notes = tab.evaluate("words('#table-notes li')")
    assert [line.removeprefix("- ") for line in markdown[5 + len(shown) :]] == [
        note.replace("Filled:", "Bold:").replace("Hatched:", "Italic:")
        for note in notes
        if "settings that differ" not in note
    ]
    latex = tab.evaluate("zoo.COPIES.LaTeX()")
    assert latex.count(r"\\") >= len(shown)
    assert r"\toprule" in latex
    assert "seq. evals" in latex
    assert r"\&amp;" in latex, "special characters are quoted"
    assert "% Letters: " in latex
    assert "% ⚠" in latex or "⚠" not in "".join(notes)
    tab.evaluate("zoo.set({group: 'samples'})")
    for form in ("CSV", "Markdown", "LaTeX"):
        assert "real data (floor)" in tab.evaluate(f"zoo.COPIES.{form}()")


def test_copies_hold_the_marks_and_the_seeds_that_are_unfolded(tab):
    tab.evaluate("zoo.set({rows: 'all', sort: 'bits_per_dim', expanded: [row('pixelcnn').id]})")
    assert tab.evaluate("words('#table-main tr.seed').length") == 3
    filled, hatched = (tab.evaluate(f"words('#table-main td.{mark}').length") for mark in ("best", "tied"))
    assert filled > 0
    assert hatched > 0
    copies = {form: tab.evaluate(f"zoo.COPIES.{form}()") for form in ("CSV", "Markdown", "LaTeX")}
    for copy in copies.values():
        lines = copy.splitlines()
        (at,) = (place for place, line in enumerate(lines) if re.match(r"\W*pixelcnn\b", line))
        for seed in range(3):
            assert re.match(rf"\W*seed {seed}\b.*1\.9", lines[at + 1 + seed])
            assert re.search(r"\b125,?088\b", lines[at + 1 + seed]), "a count is written whole"
        assert "(collapsed)" in copy
    assert len(re.findall(r"\(best\)", copies["CSV"])) == filled
    assert copies["CSV"].count("(not told apart from the best)") == hatched
    body = copies["Markdown"].split("\n\n")[1]
    assert len(re.findall(r"\| \*\*[^*]+\*\*", body)) == filled
    headings = [line for line in body.splitlines() if re.match(r"\| \*[^*]", line)]
    assert len(headings) == len(tab.evaluate("words('#table-main tr.block')")), "the kinds stand apart"
    assert len(re.findall(r"\| \*[^*]+\*[ <]", body)) == hatched + len(headings)
    table = copies["LaTeX"].partition("begin{tabular}")[2]
    assert table.count(r"\textbf{") == filled
    assert "Bold: the best for sure" in copies["LaTeX"]
    assert "Filled" not in copies["Markdown"]


@pytest.mark.parametrize("width", [1400, 900])
def test_a_table_that_is_wider_than_its_box_shows_that_it_goes_on(browser, page, width):
    tab = browser.open(page, width=width)
    tab.evaluate(HELPERS)
    box = "document.querySelector('#table-scroll')"
    over = tab.evaluate(f"{box}.scrollWidth - {box}.clientWidth")
    if width == 1400:
        assert over <= 0, "the usual columns fit a desk"
        tab.evaluate("zoo.set({baseline: row('glow~glow').id})")
        assert tab.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 0, "with differences too"
        tab.evaluate("zoo.set({group: 'all'})")
    tab.wait(f"{box}.classList.contains('cut')")
    assert "gradient" in tab.evaluate(f"getComputedStyle({box}).maskImage")
    tab.evaluate(f"{box}.scrollLeft = 99999")
    tab.wait(f"!{box}.classList.contains('cut')")
    left = tab.evaluate(
        "[document.querySelector('#table-main tbody th.name'), document.querySelector('#table-scroll')]"
        ".map(node => node.getBoundingClientRect().left)"
    )
    assert abs(left[0] - left[1]) <= 2, "the names stay in sight"
    tab.close()


def test_a_card_on_a_phone_shows_three_numbers_and_unfolds_the_rest(browser, page):
    tab = browser.open(page, width=400)
    tab.evaluate(HELPERS)
    shown = (
        "[...line('glow').querySelectorAll('td')].filter(td => td.getBoundingClientRect().height > 0)"
        ".map(td => td.dataset.label)"
    )
    assert tab.evaluate(shown) == ["bits/dim", "fd/digits-cnn", "latency (ms)"]
    tab.evaluate("zoo.set({sort: 'throughput'})")
    assert tab.evaluate(shown) == ["bits/dim", "fd/digits-cnn", "samples/s"], "what sorts is among them"
    tab.evaluate("line('glow').querySelector('.unfold').click()")
    assert len(tab.evaluate(shown)) > 5
    tab.evaluate("line('glow').querySelector('.unfold').click()")
    assert len(tab.evaluate(shown)) == 3
    tab.close()
    desk = browser.open(page)
    assert desk.evaluate("document.querySelectorAll('.unfold').length") == 0
    desk.close()


def test_a_kind_has_one_word_and_criteria_have_the_headings_of_the_table(tab):
    tab.show("tradeoff")
    legend = tab.evaluate("document.querySelector('#tradeoff-legend').textContent")
    assert "≤ bound" in legend
    assert "≈ estimate" in legend
    assert "lower bound" not in legend
    tab.evaluate("zoo.set({prefer: 'likelihood'})")
    tab.show("helper")
    tab.wait("document.querySelector('#helper-box').textContent.includes('in bits/dim')")
    assert "bits_per_dim" not in tab.evaluate("document.querySelector('#helper-box').textContent")


def test_a_filter_shows_only_the_rows_that_it_names(tab):
    everything = tab.evaluate("zoo.set({rows: 'all'}); zoo.visible().length")
    tab.evaluate("zoo.set({hidden: ['gan', 'flow']})")
    assert not {row.split("~")[0] for row in rows(tab)} & {"gan", "glow", "maf", "realnvp"}
    tab.evaluate("zoo.set({hidden: [], status: 'troubled'})")
    assert [row.split("~")[0] for row in rows(tab)] == ["maf", "gan"]
    tab.evaluate("zoo.set({status: 'all', query: 'training.lr=0.01'})")
    assert [row.split("~")[0] for row in rows(tab)] == ["glow"]
    tab.evaluate("zoo.set({query: ''})")
    assert len(rows(tab)) == everything


def test_the_kind_of_a_bound_is_told_once_with_what_it_means(tab):
    tab.evaluate("zoo.set({open: `${row('vae').id}|bits_per_dim`})")
    (text,) = tab.evaluate("words('#sheet-body')")
    assert text.partition("As this number")[0].count("bound") == 1
    assert "of 360 test examples; the true value is at most this" in text
    tab.evaluate("zoo.set({open: ''})")


def test_seeds_are_shown_on_demand(tab):
    assert tab.evaluate("words('#table-main tr.seed').length") == 0
    tab.evaluate("document.querySelector('#table-main button.expand:not([disabled])').click()")
    assert tab.evaluate("words('#table-main tr.seed').length") == 3


def test_a_change_of_the_data_shows_that_data_alone(tab):
    tab.evaluate("zoo.set({study: zoo.studyData().studies.find(s => s.label === 'rings').id})")
    assert {row.split("~")[0] for row in rows(tab)} == {"maf", "realnvp"}
    tab.show("profile")
    assert "2 data sets" in tab.evaluate("words('#profile-chart-finding')")[0]


def test_the_chance_that_b_is_better_is_the_share_of_pairs_of_seeds(tab):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=5).round(1).tolist(), (rng.normal(size=4) - 0.5).round(1).tolist()
    found = tab.evaluate(f"zoo.chanceBetter({a}, {b})")
    assert found["share"] == pytest.approx(np.mean([(y < x) + 0.5 * (y == x) for x in a for y in b]))

    def resampled() -> float:
        u, v = rng.choice(a, len(a)), rng.choice(b, len(b))
        return np.mean([(y < x) + 0.5 * (y == x) for x in u for y in v])

    low, high = np.quantile([resampled() for _ in range(4000)], [0.025, 0.975])
    assert found["low"] == pytest.approx(low, abs=0.08)
    assert found["high"] == pytest.approx(high, abs=0.08)
    assert tab.evaluate("zoo.chanceBetter([2, 3], [0, 1])") == {"share": 1, "low": 1, "high": 1}
    assert tab.evaluate("zoo.chanceBetter([2], [0, 1])") == {"share": 1, "low": None, "high": None}
    tab.call("Page.bringToFront")
    tab.evaluate("document.querySelector('#samples').scrollIntoView()")
    tab.wait("words('#slider-box p').some(said => said.includes('P(B better)'))")


def test_the_time_to_reach_a_threshold_is_told_and_drawn_and_in_the_address(tab):
    assert tab.evaluate("zoo.reached({x: [1, 2, 3], mean: [3, 2, 1]}, 2)") == 2
    assert tab.evaluate("zoo.reached({x: [1, 2, 3], mean: [3, 2, 1]}, 0.5)") is None
    tab.show("curves")
    tab.evaluate(
        "(box => { box.value = '2.1'; box.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#curves-controls input[type=number]'))"
    )
    tab.evaluate("zoo.idle()")
    (said,) = tab.evaluate("words('#curves-chart-finding')")
    told, _, never = said.partition("The mean is first at most 2.1 after, in updates: ")[2].partition(
        " Never: "
    )
    assert "pixelcnn 400" in told, "1.95 + 2 exp(-n / 150) is at most 2.1 from n = 389"
    assert never.startswith("iresnet") or "iresnet" in never
    assert "tt=2.1" in tab.evaluate("location.hash")
    assert tab.evaluate("document.querySelector('#curves-chart').layout.shapes.map(one => one.y0)") == [2.1]


def test_numbers_are_written_as_in_the_tables(tab):
    draw = random.Random(0)
    cases = [(0.0, None), (1234567.0, None), (-17.73, None), (1e-9, None), (math.pi * 1e5, 3e3), (1e8, 1e7)]
    for _ in range(400):
        spread = draw.choice((None, 10 ** draw.uniform(-6, 4)))
        cases.append((draw.choice((-1, 1)) * 10 ** draw.uniform(-8, 8), spread))
    written = tab.evaluate(f"{json.dumps(cases)}.map(([value, spread]) => zoo.number(value, spread))")
    assert written == [number(value, spread) for value, spread in cases]


def test_tests_and_corrections_are_those_of_the_ledger(tab):
    draw = random.Random(1)
    samples = [[[draw.gauss(0, 1) for _ in range(draw.randint(2, 6))] for _ in range(2)] for _ in range(40)]
    answer = tab.evaluate(f"{json.dumps(samples)}.map(([a, b]) => zoo.welch(a, b))")
    assert answer == pytest.approx([welch(a, b).p for a, b in samples], rel=1e-9)
    ps = [draw.random() for _ in range(9)]
    assert tab.evaluate(f"zoo.holm({json.dumps(ps)})") == pytest.approx(holm(ps))
    assert tab.evaluate("zoo.tQuantile(3)") == pytest.approx(stats.t.ppf(0.975, 3), rel=1e-9)


def test_points_of_the_plane_are_shown_as_densities_and_where_there_is_none_as_points(browser, tmp_path):
    density = np.ones((20, 20), np.float16)
    for model in ("maf", "gan"):
        record = write(tmp_path, model, "flow" if model == "maf" else "gan", data="moons")
        if model == "maf":
            extent = np.array([-1.0, 1.0, -1.0, 1.0])
            np.savez(tmp_path / record.run_id / "density.npz", density=density, data=density, extent=extent)
    file = tmp_path / "index.html"
    file.write_text(built(tmp_path), encoding="utf-8")
    tab = browser.open(file)
    tab.evaluate(HELPERS)
    captions = "words('#samples-box figcaption').map(words => words.trim())"
    tab.call("Page.bringToFront")
    tab.evaluate("document.querySelector('#samples').scrollIntoView()")
    tab.wait(f"{captions}.length === 3")
    assert tab.evaluate(captions) == ["data (histogram)", "maf", "gan (samples: no density)"]
    assert "sv=" not in tab.evaluate("zoo.address()")
    tab.evaluate("zoo.set({shown: 'samples'})")
    tab.wait(f"{captions}.includes('real test data (500 points)')")
    assert tab.complaints == []
    tab.close()


def test_a_gallery_is_shown_in_lines_and_a_way_from_noise_can_be_played(browser, tmp_path):
    record = write(tmp_path, "flow_matching", "continuous flow", "estimate")
    images = np.zeros((3, 1, 8, 8), np.uint8)
    np.savez(
        tmp_path / record.run_id / "gallery.npz", samples=images, neighbours=images + 16, likely=images,
        unlikely=images, steps=np.stack([images, images + 3]), steps_values=np.array([5, 10]),
        interpolation=np.zeros((11, 1, 8, 8), np.uint8),
    )  # fmt: skip
    points = write(tmp_path, "ffjord", "continuous flow", "estimate", data="moons")
    np.savez(tmp_path / points.run_id / "gallery.npz", path=np.zeros((4, 50, 2), np.float16))
    file = tmp_path / "index.html"
    file.write_text(built(tmp_path), encoding="utf-8")
    tab = browser.open(file)
    tab.evaluate(HELPERS)
    tab.call("Page.bringToFront")
    tab.evaluate("document.querySelector('#samples').scrollIntoView()")
    tab.evaluate("zoo.set({study: zoo.studyData().studies.find(s => s.label === 'digits').id})")
    others = "[...document.querySelectorAll('#samples-controls .buttons button')]"
    tab.evaluate("document.querySelector('#samples-controls select').focus()")
    tab.evaluate("zoo.set({shown: 'steps'})")
    tab.wait("words('#samples-box .line > span').length === 3")
    assert tab.evaluate("words('#samples-box .line > span')") == ["steps 5", "steps 10", "as evaluated"]
    assert tab.evaluate(f"{others}.map(button => button.disabled)") == [True, True], "there are no others"
    tab.evaluate("zoo.set({shown: 'neighbours'})")
    tab.wait("words('#samples-box .line > span').includes('nearest in training')")
    shades = """c => {
      const line = c.getContext('2d').getImageData(0, 0, c.width, 1).data;
      return [0, 1, 2].map(i => line[4 * i * (c.width + 1) / 3]);
    }"""
    assert tab.evaluate(f"[...document.querySelectorAll('#samples-box canvas')].map({shades})") == [
        [0, 0, 0],
        [255, 255, 255],
    ], "16 of 17 levels is white"
    tab.evaluate("zoo.set({study: zoo.studyData().studies.find(s => s.label === 'moons').id, shown: 'path'})")
    tab.wait("Boolean(document.querySelector('#samples-box input[type=range]'))")
    tab.evaluate("document.querySelector('#samples-box button[aria-label^=play]').click()")
    tab.wait("document.querySelector('#samples-box input[type=range]').value === '3'")
    assert violations(tab) == []
    assert tab.complaints == []
    tab.close()
