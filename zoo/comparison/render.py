"""The table as text: terminal, Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from zoo.comparison.table import Table

ARROWS = {"lower": " ↓", "higher": " ↑", "one": " →1", "": ""}


def headings(table: Table) -> list[str]:
    """``model``, ``family`` and the columns, with an arrow towards the better side."""
    return ["model", "family"] + [c + ARROWS[d] for c, d in zip(table.columns, table.directions, strict=True)]


ROWS = 200  # that a terminal is given; the files have all


def terminal(table: Table, console: Console) -> None:
    """Print a table and its notes, of a very long one the beginning."""
    finished = all(row.cells[-1].text in ("finished", "") for row in table.rows)
    hidden = {"updates", "images seen"} | ({"status"} if finished else set())  # the files have every column
    shown = [i for i, column in enumerate(table.columns) if column not in hidden]
    rich = RichTable(
        title=escape(table.title), box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0)
    )
    for index, heading in enumerate(headings(table)):
        if index < 2 or index - 2 in shown:
            left = index < 2 or heading == "status"
            justify: Literal["left", "right"] = "left" if left else "right"
            width = len("autoregressive") if index == 1 else None
            rich.add_column(escape(heading), justify=justify, no_wrap=index != 1, min_width=width)
    for row in table.rows[:ROWS]:
        visible = [row.cells[i] for i in shown]
        cells = [f"[bold]{escape(c.shown)}[/]" if c.best else escape(c.shown) for c in visible]
        rich.add_row(f"[bold]{escape(row.name)}[/]", f"[dim]{escape(row.family)}[/]", *cells)
    console.print(rich)
    if len(table.rows) > ROWS:
        console.print(f"  and {len(table.rows) - ROWS} more rows; zoo compare -o DIR writes them all")
    for note in table.notes[:ROWS]:
        console.print(f"  {note}", style="dim", markup=False, highlight=False)
    console.print()


def markdown(table: Table) -> str:
    """GitHub Markdown with the notes below."""
    lines = [f"**{_md(table.title)}**", ""]
    lines.append("| " + " | ".join(map(_md, headings(table))) + " |")
    lines.append("|" + "|".join("---" if i < 2 else "---:" for i in range(len(table.columns) + 2)) + "|")
    for row in table.rows:
        cells = [f"**{_md(c.shown)}**" if c.best else _md(c.shown) for c in row.cells]
        lines.append("| " + " | ".join([_md(row.name), _md(row.family), *cells]) + " |")
    return "\n".join(lines + [""] + [f"- {_md(note)}" for note in table.notes])


def _md(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def latex(table: Table) -> str:
    """A ``tabular`` for booktabs, its notes in small print below."""
    body = [
        " & ".join([_tex(row.name), _tex(row.family)]
                   + [rf"\textbf{{{_tex(c.shown)}}}" if c.best else _tex(c.shown) for c in row.cells]) + r" \\"
        for row in table.rows
    ]  # fmt: skip
    spec = "ll" + "r" * (len(table.columns) - 1) + "l"
    head = " & ".join(_tex(h) for h in headings(table)) + r" \\"
    notes = [rf"\par\noindent{{\footnotesize {_tex(note)}\par}}" for note in table.notes]
    lines = [
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join([f"% {' '.join(table.title.split())}", *lines, *notes])


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "≤": r"$\le$", "≈": r"$\approx$",
    "[": "{[}", "≥": r"$\ge$", "†": r"$^\dagger$", "—": "---", "↓": r"$\downarrow$", "↑": r"$\uparrow$",
}  # fmt: skip
_TEX |= {mark: rf"$^{{{digit}}}$" for digit, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def csv_text(tables: Sequence[Table]) -> str:
    """One line for each value: nothing rounded, each with its kind."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["table", "model", "family", "column", "value", "spread", "kind", "seeds", "note"])
    for table in tables:
        for row in table.rows:
            seeds = len({run.record.seed for run in row.runs})
            for column, cell in zip(table.columns, row.cells, strict=True):
                value = cell.text if column == "status" else "" if cell.value is None else repr(cell.value)
                spread = "" if cell.spread is None else repr(cell.spread)
                writer.writerow(
                    [table.title, row.name, row.family, column, value, spread, cell.kind, seeds, cell.note]
                )
    return stream.getvalue()
