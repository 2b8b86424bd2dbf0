"""The benchmark of the quickstart reads what a terminal shows: rows, pictures and the time left."""

from __future__ import annotations

import io

import numpy as np
import pytest
import quickstart
import table
from quickstart import Piece
from rich.console import Console

from zoo.record import SAMPLES
from zoo.sweep import plan_sweep
from zoo.sweep.display import make_display


def test_a_command_has_a_terminal_and_its_text_the_time_at_which_it_appears(tmp_path):
    script = "test -t 1 && printf '\\033[1mone\\033[0m\\rtwo\\n'; sleep 0.3; echo three; exit 3"
    pieces, code = quickstart.watched(["sh", "-c", script], tmp_path, {"PATH": "/bin:/usr/bin"})
    assert code == 3
    assert "one\ntwo" in pieces[0].text
    later = next(piece for piece in pieces if "three" in piece.text)
    assert 0 < pieces[0].seconds < later.seconds
    assert 0.3 <= later.seconds < 60, "counted from the start, before the first text is read"


def test_what_a_sweep_shows_in_a_terminal_is_understood(tmp_path):
    plan = plan_sweep("quickstart", [], tmp_path)
    job = plan.jobs[0]
    job.directory.mkdir(parents=True)
    np.savez(job.directory / SAMPLES, samples=np.zeros((8, 1, 8, 8), np.uint8), levels=17)
    job.state, job.started, job.seconds = "finished", 1.0, 12.0
    output = io.StringIO()
    console = Console(file=output, width=quickstart.COLUMNS, force_terminal=True)
    with make_display(plan, console, 2) as display:
        display.ended(job)
        display.update()
    shown = Piece(40.0, quickstart.plain(output.getvalue().encode()))
    assert len(quickstart.ROW.findall(shown.text)) == 1
    assert quickstart.first(quickstart.PICTURE, [shown]) == 40.0
    (done, size, value, unit), *_ = quickstart.LEFT.findall(shown.text)
    assert (done, size) == ("1", "10")
    assert float(value) * quickstart.UNITS[unit] > 10


def announced(seconds, text):
    return Piece(seconds, f"sweep ━━ 3 of 10 jobs · about {text} left\n")


ROWS = "finished  digits-maf-0 12 s \n", "▀▄▀\n", "finished  digits-gan-0 20 s \n"


def test_rows_have_set_up_and_the_worst_error_of_the_time_left():
    pieces = [
        announced(10.0, "3 min"),  # 190 s are left
        Piece(20.0, ROWS[0]),
        Piece(21.0, ROWS[1]),
        announced(100.0, "50 s"),  # 100 s are left
        announced(190.0, "90 s"),  # 10 s are left, too few to count
        Piece(200.0, ROWS[2]),
        Piece(210.0, ""),
    ]
    rows = {row["what"]: row for row in quickstart.rows(60.0, pieces)}
    assert {what: row.get("seconds") for what, row in rows.items()} == {
        "set-up": 60.0, "first row": 80.0, "first picture": 81.0, "total": 270.0, "time left": None,
    }  # fmt: skip
    left = rows["time left"]
    assert (left["worst_error"], left["most_error"], left["jobs"]) == (-0.5, -0.053, 2)
    assert left["share_within_aim"] == 0.5
    assert not left["reached"]
    assert rows["first row"]["reached"]
    assert not quickstart.rows(80.0, pieces)[1]["reached"], "100 s"
    record = {"rows": list(rows.values())}
    assert len(table.comparisons("quickstart", record)) == len(table.LINES["quickstart"])


def test_a_quickstart_without_a_picture_gives_no_result():
    with pytest.raises(SystemExit, match="no row, no picture or no time left"):
        quickstart.rows(60.0, [announced(10.0, "3 min"), Piece(100.0, ROWS[0])])
