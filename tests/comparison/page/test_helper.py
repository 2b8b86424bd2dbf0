"""The decision helper of the page gives the answers of ``zoo recommend``."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from fake_records import save, write
from invented import built, gathered

from zoo.comparison.guards import recall_of
from zoo.comparison.recommend import Constraints, recommend
from zoo.comparison.recommend.numbers import error_text, number_texts
from zoo.comparison.slide import EVIDENCE
from zoo.comparison.studies import studies
from zoo.config.declared import data_kinds
from zoo.errors import ZooError

QUICKSTART = Path(__file__).resolve().parents[3] / "results" / "quickstart" / "records"
QUESTIONS = [
    Constraints(),
    Constraints(likelihood="exact"),
    Constraints(likelihood="exact", latency=0.01),
    Constraints(likelihood="bound", latency=0.001),
    Constraints(likelihood="estimate", training=70.0),
    Constraints(latency=0.05, parameters=200_000),
    Constraints(throughput=5000.0),
    Constraints(memory=1e9),
    Constraints(invertible=True),
    Constraints(conditional=True),
    Constraints(fidelity=0.0, density=1.0),
    Constraints(likelihood="exact", fidelity=0.0, density=1.0),
    Constraints(likelihood="exact", fidelity=1.0, density=0.5),
    Constraints(fidelity=0.0, density=1.0, latency=0.005),
    Constraints(fidelity=1.0, density=0.5),
    Constraints(dimension=64),
    Constraints(dimension=100),
    Constraints(dimension=3072),
    Constraints(dimension=500),
    Constraints(dimension=1000),
    Constraints(checkpoint=True),
    Constraints(lost=0.1, latency=0.02),
    Constraints(fidelity=1.0, coverage=1.0),
]
BY_RECALL = Constraints(fidelity=0.0, coverage=1.0, likelihood="exact")  # the invented runs have no recall
CASES = [(records, one) for records in ("invented", "quickstart") for one in QUESTIONS]
CASES += [("toys", one) for one in (Constraints(), Constraints(fidelity=1.0), Constraints(latency=0.02))]
CASES.append(("quickstart", BY_RECALL))
ASK = """(asked => {
  const answer = zoo.decide(zoo.current(), asked), facts = c => zoo.current().helper.rows[c.row.index];
  const rounded = part => Number(part.toFixed(4));
  return {
    blocks: answer.blocks.map(b => [b.kind, b.cards.map(c => c.row.name), b.certainty]),
    cards: answer.cards.map(c => [c.row.name, rounded(c.onTop), rounded(c.onFront), c.letters, c.why, c.tried,
      facts(c).lost.text, c.errorKnown]),
    numbers: answer.cards.map(c => facts(c).numbers),
    errors: answer.cards.map(c => [facts(c).error, facts(c).beside_table]),
    excluded: answer.excluded.map(one => [one.row.name, one.reasons.map(r => [r.constraint, r.text])]),
    criteria: answer.criteria,
    relaxations: answer.relaxations.map(one => [one.constraint, one.value, one.text]),
    unmeasured: answer.unmeasured,
    notes: answer.notes,
  };
})"""

NAMES = "[...document.querySelectorAll('#helper-box .card h3 button')].map(button => button.textContent)"


@pytest.fixture(scope="module")
def asked(request, browser, page, tmp_path_factory):
    """Return runs, and the page of them in a tab."""
    if request.param == "invented":
        file, root = page, page.parent / "runs"
    else:
        root, file = QUICKSTART, tmp_path_factory.mktemp(request.param) / "index.html"
        if request.param == "toys":  # one of them: a page of all takes long
            root = file.parent / "records"
            for run in gathered(QUICKSTART.parents[1] / "toys/records.tar.xz"):
                if run.record.data == "rings":  # runs of rings were timed on two devices
                    shutil.copytree(run.directory, root / run.directory.name)
        file.write_text(built(root), encoding="utf-8")
    tab = browser.open(file)
    yield studies(gathered(root))[0], tab
    tab.close()


@pytest.mark.parametrize("asked", ["invented"], indirect=True)
def test_the_page_says_that_no_record_has_what_decides(asked):
    study, tab = asked
    assert recall_of(study) is None
    certainty = tab.evaluate(f"zoo.decide(zoo.current(), {json.dumps(vars(BY_RECALL))}).blocks[0].certainty")
    assert certainty == "The records have none of the weighted criteria."
    with pytest.raises(ZooError, match="none of the weighted criteria"):
        recommend([study], BY_RECALL)


@pytest.mark.parametrize(("asked", "constraints"), CASES, indirect=["asked"], ids=repr)
def test_the_page_and_the_terminal_answer_alike(asked, constraints):
    study, tab = asked
    label = None if constraints.dimension else study.label
    answer = recommend([study], dataclasses.replace(constraints, data=label), data_kinds())
    shown = tab.evaluate(f"{ASK}({json.dumps(dataclasses.asdict(constraints))})")
    expected = {
        "blocks": [[b.kind, [card.name for card in b.cards], b.certainty] for b in answer.blocks],
        "cards": [
            [c.name, c.on_top, c.on_front, c.letters, c.why, list(c.tried), c.lost.text, c.error_known]
            for c in answer.cards
        ],
        "numbers": [[list(one) for one in number_texts(c.numbers).items()] for c in answer.cards],
        "errors": [[error_text(card.seeds), card.beside_table] for card in answer.cards],
        "excluded": [[one.name, [[r.constraint, r.text] for r in one.reasons]] for one in answer.excluded],
        "criteria": answer.criteria,
        "relaxations": [[one.constraint, one.value, one.text] for one in answer.relaxations],
        "unmeasured": [list(one) for one in answer.unmeasured],
        "notes": list(answer.notes),
    }
    for name, value in expected.items():
        assert shown[name] == value, name


def test_the_page_rewards_no_variance_and_hides_no_collapsed_seed_in_a_mean(browser, tmp_path):
    distances = {
        "maf": (3.0, 3.1, 3.05),
        "glow": (1.0, 8.0, 2.0),
        "nsf": (4.0, 4.1, 4.05),
        "vae": (2.9, 50.0, 3.0),
    }
    for model, values in distances.items():
        for seed, fd in enumerate(values):
            write(tmp_path / "runs", model, "flow", fd=fd, seed=seed, latency=0.001 * (1 + 0.01 * seed))
    file = tmp_path / "index.html"
    file.write_text(built(tmp_path / "runs"), encoding="utf-8")
    tab = browser.open(file)
    answer = recommend([studies(gathered(tmp_path / "runs"))[0]])
    (block,) = answer.blocks
    shown = tab.evaluate(f"{ASK}({json.dumps(dataclasses.asdict(Constraints()))})")
    assert {card[0]: card[4] for card in shown["cards"]} == {card.name: card.why for card in block.cards}
    assert shown["cards"][0][0] == block.cards[0].name == "maf"
    assert "cannot tell" not in block.certainty
    (why,) = (reasons for name, reasons in shown["excluded"] if name == "vae")
    assert why[0][1].startswith(
        "1 of 3 runs (95 % interval 1 to 91 %) collapsed; seed 1: its fd/digits-cnn of 50"
    )
    row = "zoo.rowsOf(zoo.current()).find(row => row.model === 'vae')"
    assert tab.evaluate(f"zoo.collapsed({row}, 12)").startswith(
        "1 of 3 runs collapsed: samples more than 12 times"
    )
    assert tab.evaluate(f"zoo.collapsed({row}, 1000)") == ""
    tab.close()


def test_an_answer_that_does_not_stand_for_its_model_is_in_the_table_and_its_card_says_why(browser, tmp_path):
    for key, updates, fd in (("", 300, 6.0), ("-long", 1000, 2.0)):
        for seed in range(3):
            record = write(tmp_path / "runs", "maf", "flow", fd=fd + 0.1 * seed, seed=seed, key=key)
            record.provenance.config = {"seed": seed, "training": {"updates": updates}}
            save(tmp_path / "runs", record)
            write(tmp_path / "runs", "glow", "flow", fd=9.0 + 0.1 * seed, seed=seed)
    for seed in range(3):
        record = write(tmp_path / "runs", "nsf", "flow", fd=8.0 + 0.1 * seed, seed=seed)
        record.provenance.config = {"seed": seed, "training": {"updates": 300}}
        save(tmp_path / "runs", record)
    file = tmp_path / "index.html"
    file.write_text(built(tmp_path / "runs"), encoding="utf-8")
    tab = browser.open(file)
    names = "zoo.visible().map(row => row.name)"
    assert set(tab.evaluate(names)) == {"glow", "maf", "maf (updates 1000)", "nsf"}
    card = tab.evaluate("document.querySelector('#helper-box .card .warnbox').textContent")
    assert card == (
        "In the table maf stands for maf: the settings that its other rows vary, at 300 updates as most "
        "models; this one has 1000. This row is chosen from 2 by the test data that judge it, which "
        "flatters it."
    )
    tab.evaluate("zoo.set({latency: '1 us'})")
    assert "maf (updates 1000)" in tab.evaluate(names), "a constraint hides no row"
    tab.close()


def test_a_click_relaxes_the_likelihood_by_one_step(browser, page):
    tab = browser.open(page)
    tab.show("helper")
    tab.evaluate("zoo.set({likelihood: 'exact', prefer: 'likelihood'}); zoo.idle()")
    relax = "[...document.querySelectorAll('#helper-box li')].find(li => li.textContent.endsWith('relax'))"
    assert tab.evaluate(f"{relax}.textContent").startswith("If a bound of the likelihood is enough, ")
    for level in ("bound", "estimate"):
        tab.evaluate(f"{relax}.querySelector('button').click()")
        assert tab.evaluate("zoo.idle().then(() => zoo.state.likelihood)") == level
    tab.close()


def test_the_dimension_chooses_the_data_that_answer(browser, page):
    tab = browser.open(page)
    tab.show("helper")
    tab.evaluate("zoo.set({dimension: '3', prefer: 'quality'}); zoo.idle()")
    text = tab.evaluate("document.querySelector('#helper-box').textContent")
    assert "Nothing was measured at 3 dimensions; the nearest is" in text
    assert tab.evaluate("zoo.current().label") == "digits", "the other views stay"
    tab.evaluate("document.querySelector('#helper-box .certainty button').click()")
    assert tab.evaluate("zoo.current().helper.dimension") == 2
    tab.evaluate("zoo.set({dimension: '3072'}); zoo.idle()")
    assert tab.evaluate("document.querySelectorAll('#helper-box .card').length") == 0
    tab.evaluate(
        "[...document.querySelectorAll('#helper-box button')].find(b => b.textContent === 'relax').click()"
    )
    assert tab.evaluate("zoo.state.dimension") == "64"
    assert tab.evaluate("zoo.idle().then(() => document.querySelectorAll('#helper-box .card').length)") > 0
    assert tab.complaints == []
    tab.close()


def test_each_kind_has_its_block_and_the_weights_are_free(browser, page):
    tab = browser.open(page)
    tab.show("helper")
    tab.evaluate("zoo.set({prefer: 'likelihood'}); zoo.idle()")
    headings = tab.evaluate(
        "[...document.querySelectorAll('#helper-box .together h3')].map(h => h.textContent)"
    )
    assert [words.partition(":")[0] for words in headings if ": " in words] == [
        "exact", "exact†", "≤ bound", "≈ estimate",
    ]  # fmt: skip
    kinds = tab.evaluate("zoo.decide(zoo.current(), zoo.constraints()).blocks.map(b => b.kind)")
    assert kinds == ["exact", "exact†", "lower bound", "estimate"]
    tab.evaluate("zoo.set({prefer: 'own', fidelity: 2, density: 0})")
    asked = tab.evaluate("zoo.constraints()")
    assert (asked["fidelity"], asked["coverage"], asked["density"]) == (2, 0, 0)
    again = browser.open(tab.evaluate("location.href"))
    assert again.evaluate("zoo.constraints()") == asked
    for opened in (tab, again):
        assert opened.complaints == []
        opened.close()


def test_a_card_tells_the_runs_lost_and_a_limit_on_them_excludes(browser, page):
    tab = browser.open(page)
    tab.show("helper")
    tab.evaluate("zoo.set({lost: '10 %'}); zoo.idle()")
    assert tab.evaluate("zoo.constraints().lost") == pytest.approx(0.1)
    answer = tab.evaluate("document.querySelector('#helper-box').textContent")
    assert "maf: lost 1 of its 4 runs (1 diverged)" in answer
    card = tab.evaluate("document.querySelector('#helper-box .card').textContent")
    assert "lost 0 of 3 runs, 95 % interval 0 to 71 %" in card
    tab.close()


def test_an_answer_is_reached_by_the_form_and_kept_in_the_address(browser, page):
    tab = browser.open(page)
    tab.show("helper")
    before = tab.evaluate("document.querySelectorAll('#helper-box .card').length")
    tab.evaluate("zoo.set({likelihood: 'exact', latency: '2 ms'}); zoo.idle()")
    cards = tab.evaluate(
        "[...document.querySelectorAll('#helper-box .card h3 button')].map(b => b.textContent)"
    )
    assert before > 0
    assert "realnvp" in cards
    assert "gan" not in cards
    out = tab.evaluate("document.querySelector('#helper-box details').textContent")
    assert "it defines no likelihood" in out
    again = browser.open(tab.evaluate("location.href"))
    again.show("helper")
    assert (
        again.evaluate(
            "words = [...document.querySelectorAll('#helper-box .card h3 button')].map(b => b.textContent)"
        )
        == cards
    )
    assert tab.complaints == again.complaints == []
    again.close()
    tab.close()


def test_a_cell_of_the_slide_opens_its_evidence(browser, page):
    tab = browser.open(page)
    headings = tab.evaluate("[...document.querySelectorAll('#slide thead th')].map(h => h.textContent)")
    assert headings == ["family", "parallel?", "sharp?", "stable?", "density?"]
    tab.evaluate("document.querySelector('#slide button.cell').click()")
    assert "The rule:" in tab.evaluate("document.querySelector('#sheet-body').textContent")
    again = browser.open(tab.evaluate("location.href"))
    title = "document.querySelector('#sheet-title').textContent"
    assert again.evaluate("document.querySelector('#sheet').open"), "the address alone opens the evidence"
    assert again.evaluate(title) == tab.evaluate(title) == "autoregressive: parallel?"
    again.press("Escape")
    again.wait("!document.querySelector('#sheet').open && zoo.state.evidence === ''")
    again.close()
    tab.evaluate("[...document.querySelectorAll('#sheet-body button')].at(-1).click()")
    assert tab.evaluate("zoo.state.rows") == "pinned"
    assert tab.evaluate("zoo.state.claim") == ""
    assert tab.evaluate("document.querySelectorAll('#table-main tr[data-row]').length") >= 1
    assert tab.complaints == []
    tab.close()


def test_the_evidence_of_a_cell_links_to_its_claim_of_these_data(browser, page):
    tab = browser.open(page)
    ledger = tab.evaluate("zoo.studyData().claims.map(one => [one.key, one.study, one.sentence, one.of_all])")
    study = tab.evaluate("zoo.current().id")
    known = {key: sentence for key, where, sentence, of_all in ledger if of_all or where == study}
    linked = 0
    for place, question in enumerate(("parallel", "sharp", "stable", "density")):
        cell = f"document.querySelector('#slide tbody tr').cells[{place + 1}].querySelector('button.cell')"
        if not tab.evaluate(f"Boolean({cell})"):
            continue
        tab.evaluate(f"{cell}.click()")
        link = tab.evaluate("document.querySelector('#sheet-body a')?.textContent ?? ''")
        family = tab.evaluate("document.querySelector('#slide tbody th').firstChild.textContent")
        key = EVIDENCE[question].get(family, "")
        if key not in known:
            assert link == ""
            said = "nothing of this was measured" if key else "no claim asks this of the family"
            assert said in tab.evaluate("document.querySelector('#sheet-body').textContent")
            tab.evaluate("document.querySelector('#sheet').close()")
            continue
        linked += 1
        assert link.startswith(known[key])
        tab.evaluate("document.querySelector('#sheet-body a').click()")
        assert not tab.evaluate("document.querySelector('#sheet').open")
        assert tab.evaluate("document.activeElement.textContent").startswith(known[key])
        address = tab.evaluate("location.href")
        fresh = browser.open(address)
        for shown in (tab, fresh):
            top = shown.evaluate("document.activeElement.getBoundingClientRect().top")
            assert shown.evaluate("document.activeElement.textContent").startswith(known[key])
            at_end = shown.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
            assert 0 <= top < (1000 if at_end else 300), "the claim itself is at the top of the window"
        assert fresh.complaints == []
        fresh.close()
    assert linked
    assert tab.complaints == []
    tab.close()


def test_a_number_has_the_same_letters_on_a_card_and_in_the_table(browser, page):
    tab = browser.open(page)
    read = """[...document.querySelectorAll('#helper-box .card')].map(card =>
      [card.querySelector('h3 button').textContent, card.querySelector('sup')?.textContent ?? ''])"""
    quality = "zoo.columnOf(zoo.current(), zoo.current().quality).letters[row.index]"
    table = dict(tab.evaluate(f"zoo.rowsOf(zoo.current()).map(row => [row.name, {quality}])"))
    seen = set()
    for limit in ("", "20 ms", "1 ms"):
        tab.evaluate(f"zoo.set({{latency: '{limit}'}}); zoo.idle()")
        cards = tab.evaluate(read)
        assert cards == [[name, table[name]] for name, _ in cards]
        seen |= {letters for _, letters in cards}
    assert seen - {""}, "some have letters"
    tab.close()


def test_a_card_says_that_its_command_makes_another_run_today(browser, page):
    tab = browser.open(page)
    assert "older zoo" not in tab.evaluate("document.querySelector('#helper-box').textContent")
    tab.evaluate("""{
      const {strings, runs} = zoo.studyData();
      strings.push('Made by an older zoo: hash 1 instead of 2; changed since: x, now y; check out commit z.');
      runs.departs.fill(strings.length - 1);
      strings.push('zoo train model=x training.y=1');
      runs.restored.fill(strings.length - 1);
      zoo.set({latency: '20 ms'});
    } zoo.idle()""")
    card = tab.evaluate("document.querySelector('#helper-box .card').textContent").replace("copy", "")
    again = "With the defaults of its time, which makes the same run today:zoo train model=x training.y=1"
    assert f"Made by an older zoo: hash 1 instead of 2.{again}" in card
    tab.evaluate("document.querySelector('#helper-box .card h3 button').click()")
    sheet = tab.evaluate("document.querySelector('#sheet-body .warnbox').textContent")
    assert sheet.endswith("changed since: x, now y; check out commit z.")
    assert again in tab.evaluate("document.querySelector('#sheet-body').textContent").replace("copy", "")
    tab.close()


def test_a_limit_that_cannot_be_read_is_said_and_not_dropped(browser, page):
    tab = browser.open(page)
    for field, words, example in (
        ("latency", "2sec", "10 ms"),
        ("latency", "10", "10 ms"),
        ("parameters", "many", "200k"),
        ("memory", "2 XB", "2 GB"),
        ("dimension", "2.5", "3072"),
        ("lost", "5", "10 %"),
    ):
        tab.evaluate(f"zoo.set({json.dumps({field: words})}); zoo.idle()")
        text = tab.evaluate("document.querySelector('#helper-box').textContent")
        assert f"“{words}” is not a limit of {field}" in text
        assert example in text
        assert (
            tab.evaluate(f"document.querySelector('#helper-controls [name={field}]').ariaInvalid") == "true"
        )
        tab.evaluate(f"zoo.set({{{field}: ''}})")
    tab.evaluate("zoo.set({parameters: '1e5', memory: '2gb', latency: '10 MS'}); zoo.idle()")
    assert "How sure" in tab.evaluate("document.querySelector('#helper-box').textContent")
    tab.close()


COMMAND = (
    "zoo train data=digits logger=none training.batch_size=64 evaluation.time_limit_seconds=1 "
    "'training.betas=[0.0, 0.99]' model=maf,glow,realnvp,nsf_coupling,nsf_autoregressive,residual_flow "
    "seed=0 training.lr=0.0015 data.path=/pictures/of-a-user/png"
)
BOXES = """(query => [...document.querySelectorAll(query)].map(node => {
  const {left, right, top, bottom} = node.getBoundingClientRect();
  return [left, right, top, bottom].map(Math.round);
}))"""
GAPS = """[...document.querySelectorAll('#helper-box .card')].flatMap(card => {
  const boxes = [...card.children].map(node => node.getBoundingClientRect());
  const end = card.getBoundingClientRect().bottom;
  return boxes.map((box, i) => (i + 1 < boxes.length ? boxes[i + 1].top : end) - box.bottom);
})"""
LINES = """[...document.querySelectorAll('#helper-box .card .argument')].map(node =>
  [node.textContent, node.getClientRects().length])"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Return a page whose answers by likelihood are blocks of one, one and two cards, with long commands."""
    root = tmp_path_factory.mktemp("kinds") / "runs"
    for model, kind, value, latency in (
        ("pixelcnn", "exact", 1.9, 0.05), ("ffjord", "estimate", 2.1, 0.03),
        ("vae", "lower bound", 1.8, 0.01), ("vae_hierarchical", "lower bound", 1.9, 0.001),
    ):  # fmt: skip
        record = write(root, model, model, kind, value, latency=latency)
        record.provenance.command = COMMAND + (" training.ema=0.99" * 6 if model == "vae" else "")
        save(root, record)
    file = root.parent / "index.html"
    file.write_text(built(root), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("width", "dark", "tops"), [(1400, False, 1), (1400, True, 1), (800, False, 2), (400, True, 4)]
)
def test_cards_are_packed_without_holes_and_commands_break_between_arguments(
    browser, kinds, width, dark, tops
):
    tab = browser.open(kinds, width=width, dark=dark)
    tab.evaluate("zoo.set({prefer: 'likelihood'}); zoo.idle()")
    tab.settle()
    tab.evaluate("for (const node of document.querySelectorAll('#helper-box details')) node.open = true")
    cards = tab.evaluate(f"{BOXES}('#helper-box .card')")
    assert len(cards) == 4
    assert len({top for *_, top, _ in cards}) == tops, "cards of several kinds stand beside each other"
    assert len({(top, bottom) for *_, top, bottom in cards}) == tops, "those of a row end together"
    assert all(0 <= left < right <= width for left, right, *_ in cards)
    assert max(tab.evaluate(GAPS)) < 24, "no hole in a card"
    lines = dict(tab.evaluate(LINES))
    assert lines.pop("evaluation.time_limit_seconds=1") == 1
    assert lines.pop("'training.betas=[0.0, 0.99]'") == 1
    assert lines.pop(next(word for word in COMMAND.split() if word.startswith("model="))) > 1, "at its commas"
    assert set(lines.values()) == {1}
    fits = "[...document.querySelectorAll('#helper-box .command')].every(n => n.scrollWidth <= n.clientWidth)"
    assert tab.evaluate(fits), "nothing has to be scrolled to"
    codes = tab.evaluate(
        "[...document.querySelectorAll('#helper-box .card .command > code')].map(n => n.textContent)"
    )
    assert COMMAND in codes, "word for word"
    assert tab.complaints == []
    tab.close()
