"""The page is self-contained, fetches nothing, and escapes the text of records."""

from __future__ import annotations

import html
import json
import re

from fake_records import nine, save, show, write

from zoo.comparison import page
from zoo.comparison.collect import Run
from zoo.comparison.page.provenance import provenance


def page_of(paths, out):
    show(paths, out)
    return (out / "index.html").read_text()


def test_the_page_fetches_nothing_and_escapes_names(runs, tmp_path):
    record = write(runs, "<script>alert(1)</script>_&%", "flow")
    record.provenance.command = "zoo train 'model=\"<b>\"'"
    save(runs, record)
    text = page_of([runs], tmp_path / "out")
    assert "<script>alert" not in text
    assert '"<b>' not in text
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    assert text.count("data:image/png;base64") == 1
    assert text.count("<svg") == 2
    assert "Failures" not in text


def test_style_sheet_and_script_are_inside_the_page(runs, tmp_path):
    text = page_of([runs], tmp_path / "out")
    for file in ("style.css", "script.js"):
        assert (page.HERE / file).read_text() in text


def test_wide_tables_scroll_and_long_names_wrap():
    style = (page.HERE / "style.css").read_text()
    assert re.search(r"\.scroll \{ overflow-x: auto", style)
    assert re.search(r"\.scroll::-webkit-scrollbar \{ height:", style), "a bar that stays in sight"
    assert "td:first-child { white-space: normal" in style


def test_cells_have_the_values_by_which_they_are_sorted(runs, tmp_path):
    text = page_of([runs], tmp_path / "out")
    assert re.search(
        r'<td class="best" data-value="1.8" title="kind: exact; n: 360; .*?">1.800 ± 0.012†</td>', text
    )
    assert '<td data-value="" title="A gan defines no likelihood; judge GAN by its samples.">—¹</td>' in text
    assert "<td>finished</td>" in text, "a status is sorted by its text"
    assert text.count('<tr class="floor">') == 1


def test_the_title_of_the_first_cell_is_the_provenance_of_the_runs(runs, tmp_path):
    record = write(runs, "maf", "flow")
    record.provenance.git_commit = "0123456789abcdef"
    save(runs, record)
    origin = "seed 0 · finished · config 0maf · commit 0123456789 · zoo train model=maf"
    assert f'<td title="{origin}">maf</td>' in page_of([runs], tmp_path / "out")


def test_failures_and_each_data_set_have_a_section_with_a_link(runs, tmp_path):
    write(runs, "maf", "flow", status="failed")
    nine(runs, data="moons")
    text = page_of([runs], tmp_path / "out")
    assert "<h2>Failures</h2>" in text
    assert text.count("<table>") == 2
    assert "NLL (nats)" in text
    assert text.index('<h2 id="moons">') < text.index('<h2 id="digits">'), "the most runs come first"
    links = re.findall(r'<a href="#([^"]+)">', text)
    assert {"digits", "moons", "curves", "provenance"} <= set(links)
    assert all(f'id="{name}"' in text for name in links)


def test_provenance_shared_by_all_runs_is_shown_once(runs, tmp_path):
    root = tmp_path / "more"
    for seed in (0, 1):
        record = write(root, "maf", "flow", seed=seed)
        record.provenance.config |= {"training": {"lr": 0.1, "updates": 7 + seed}, "empty": {}}
        save(root, record)
    text = page_of([root], tmp_path / "out")
    shared, *each = (json.loads(html.unescape(t)) for t in re.findall(r"<pre>(.*?)</pre>", text))
    assert shared["config"]["training"] == {"lr": 0.1}
    assert shared["versions"] == {"zoo": "0.1.0"}
    assert [o["config"]["training"] for o in each] == [{"updates": 7}, {"updates": 8}]
    assert all("versions" not in o and "cost" not in o for o in each)
    assert "shared by all 2 runs" in text


def test_the_provenance_of_a_single_run_has_no_shared_part(tmp_path):
    record = write(tmp_path, "maf", "flow", status="failed")
    ((title, facts),) = provenance([Run(record, tmp_path)])
    assert title == f"maf-digits-s0 · seed 0 · failed — {record.reason}"
    assert json.loads(facts)["cost"]["updates"] == 1000
    assert "git_commit" not in json.loads(facts), "what was not recorded is left out"
