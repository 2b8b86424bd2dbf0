"""What is said of cells that do not agree, and the characters of tables in LaTeX."""

from __future__ import annotations

from tables import made, table

from zoo.comparison.render import tex
from zoo.reproduction.overview import Line
from zoo.reproduction.overview_files import reasons_markdown
from zoo.reproduction.reproduce import Report
from zoo.reproduction.verdict import judge

ERROR = {"error": 0.2, "error_kind": "deviation over runs", "error_runs": 10}
SUSPECT = {"what": "The start.", "finding": "open", "by": "no other was run", "columns": ["LL"]}


def reasons(runs, **changes):
    outcome = table(ERROR, **changes)
    report = Report(outcome, judge(outcome, outcome.cells, runs, {}), [], {}, [])
    return reasons_markdown([Line(report, 1, 1, 0, None, None, {}, 0, 0)])


def test_a_cell_that_differs_stands_with_the_suspects_of_its_column():
    text = reasons(made(9.0, 9.1, 8.9), suspects=[SUSPECT])
    assert "`results/papers/small/table.md`" in text
    assert "- differs: worse: Flow, LL\n" in text
    assert "- Suspect for LL: The start: open, no other was run.\n" in text


def test_without_a_suspect_the_text_says_so():
    assert "- The table names no suspect.\n" in reasons(made(9.0, 9.1, 8.9))


def test_a_cell_without_a_verdict_says_why():
    text = reasons(made(9.0, 9.1, 8.9, partial=True))
    assert "- partial budget (the recipe was cut short): Flow, LL\n" in text


def test_cells_that_agree_or_were_not_run_are_left_out():
    for runs in (made(3.0, 3.1, 2.9), {}):
        assert reasons(runs, suspects=[SUSPECT]) == "Every cell that was run agrees.\n"


def test_characters_that_old_encodings_of_latex_lack_are_written_out():
    assert tex("|χ²| < N->8") == r"\textbar{}$\chi$$^{2}$\textbar{} \textless{} N-\textgreater{}8"
