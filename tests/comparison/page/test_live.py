"""The live page follows its runs, and keeps what the reader has selected."""

from __future__ import annotations

import os
import time

from fake_records import nine, write

from zoo.comparison.watch import Server
from zoo.record.plan import write_plan


def test_new_runs_come_in_while_selection_and_scroll_stay(browser, tmp_path):
    nine(tmp_path)
    server = Server(tmp_path)
    server.start()
    tab = browser.open(server.address)
    try:
        tab.evaluate("zoo.set({pins: ['vae~vae'], query: 'o', sort: '-latency', rows: 'all'})")
        tab.evaluate("window.scrollTo(0, 700)")
        before = tab.evaluate("[zoo.address(), scrollY]")
        assert "nsf_coupling" not in tab.evaluate("document.querySelector('#table-main').textContent")
        for seed in range(3):
            write(tmp_path, "nsf_coupling", "flow", seed=seed)
        tab.wait("document.querySelector('#table-main').textContent.includes('nsf_coupling')")
        assert tab.evaluate("[zoo.address(), scrollY]") == before
        assert tab.evaluate("document.querySelectorAll('#table-main tr.fresh').length") == 1
        folder = tmp_path / "maf-digits-s9"
        folder.mkdir()
        (folder / "curves.csv").write_text(
            "updates,wall_seconds,train/loss\n10,1,0.5\n20,2,nan\n", encoding="utf-8"
        )
        tab.wait("document.querySelector('#live').textContent.includes('not finite')")
        assert tab.evaluate("document.querySelector('.jobs li').className") == "trouble"
        assert tab.evaluate("[zoo.address(), scrollY]")[0] == before[0]
        address = server.address
        assert all(request.startswith(f"{address}delta?cursor=") for request in tab.requests)
        assert tab.complaints == []
    finally:
        tab.close()
        server.stop()


def test_a_live_page_without_a_record_begins_with_its_jobs(browser, tmp_path):
    folder = tmp_path / "maf-digits-s0"
    folder.mkdir()
    write_plan(tmp_path, ["maf-digits-s0", "glow-digits-s0", "vae-digits-s0"], 3)
    (folder / "curves.csv").write_text("updates,wall_seconds,train/loss\n10,1,0.5\n", encoding="utf-8")
    server = Server(tmp_path)
    server.start()
    tab = browser.open(server.address)
    try:
        said = "document.querySelector('#live').textContent"
        assert "maf-digits-s0" in tab.evaluate(said)
        assert "1 job without a record, 2 of the sweep not begun" in tab.evaluate(said)
        write(tmp_path, "maf", "flow")
        tab.wait("document.querySelectorAll('#table-main tr[data-row]').length === 1")
        write(tmp_path, "glow", "flow")
        tab.wait(f"{said}.includes('0 jobs without a record, 1 of the sweep not begun')")
        assert tab.complaints == []
    finally:
        tab.close()
        server.stop()


def test_jobs_in_trouble_stand_on_top(browser, tmp_path):
    """By name they would come last."""
    heading = "updates,wall_seconds,train/loss\n"
    for name, row in (("a-healthy", "10,1,0.5"), ("y-stalled", "10,1,0.5"), ("z-broken", "10,1,nan")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "curves.csv").write_text(f"{heading}{row}\n", encoding="utf-8")
    os.utime(tmp_path / "y-stalled" / "curves.csv", (1, time.time() - 3600))
    server = Server(tmp_path)
    server.start()
    tab = browser.open(server.address)
    try:
        jobs = (
            "[...document.querySelectorAll('#live li')]"
            ".map(li => [li.className, li.querySelector('.job').textContent])"
        )
        assert tab.evaluate(jobs) == [["trouble", "y-stalled"], ["trouble", "z-broken"], ["", "a-healthy"]]
        chips = "[...document.querySelectorAll('#live li .chip.bad')].map(chip => chip.textContent)"
        assert tab.evaluate(chips) == ["stalled", "not finite"]
    finally:
        tab.close()
        server.stop()
