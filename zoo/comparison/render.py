"""Tables as text: terminal, Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from zoo.comparison.tables import Cell, Table

ROWS = 200  # largest number of a table's rows, and of its notes, on the terminal; the files have all
BUDGET = {"updates", "images seen"}  # columns that the terminal does not show
FAMILY_WIDTH = len("autoregressive")


def terminal(table: Table, console: Console) -> None:
    """Print a table and its notes; of a very long table only the beginning."""
    finished = all(row.cells[-1].text in ("finished", "") for row in table.rows)
    hidden = BUDGET | ({"status"} if finished else set())
    shown = [index for index, column in enumerate(table.columns) if column not in hidden]
    model, family, *headings = table.headings
    rich = RichTable(
        title=escape(table.title), box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0)
    )
    rich.add_column(model, no_wrap=True)
    rich.add_column(family, min_width=FAMILY_WIDTH)
    for index in shown:
        justify: Literal["left", "right"] = "left" if table.columns[index] == "status" else "right"
        rich.add_column(escape(headings[index]), justify=justify, no_wrap=True)
    for row in table.rows[:ROWS]:
        cells = [_bold(row.cells[index], "[bold]{}[/]", escape) for index in shown]
        rich.add_row(f"[bold]{escape(row.name)}[/]", f"[dim]{escape(row.family)}[/]", *cells)
    console.print(rich)
    if len(table.rows) > ROWS:
        console.print(f"  and {len(table.rows) - ROWS} more rows; zoo compare -o DIR writes them all")
    for note in table.notes[:ROWS]:
        console.print(f"  {note}", style="dim", markup=False, highlight=False)
    console.print()


def _bold(cell: Cell, bold: str, quote: Callable[[str], str]) -> str:
    """Return a cell's quoted text, in bold where it is the best."""
    return bold.format(quote(cell.shown)) if cell.best else quote(cell.shown)


def markdown(table: Table) -> str:
    """Return a table in GitHub's Markdown, with its notes below."""
    lines = [f"**{md(table.title)}**", ""]
    lines.append("| " + " | ".join(map(md, table.headings)) + " |")
    lines.append("|" + "|".join("---" if i < 2 else "---:" for i in range(len(table.columns) + 2)) + "|")
    for row in table.rows:
        cells = [_bold(cell, "**{}**", md) for cell in row.cells]
        lines.append("| " + " | ".join([md(row.name), md(row.family), *cells]) + " |")
    return "\n".join(lines + [""] + [f"- {md(note)}" for note in table.notes])


def md(text: str) -> str:
    """Return a text as the cell of a table in Markdown."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def latex(table: Table) -> str:
    """Return a table as a ``tabular`` for the package booktabs, with its notes in small print below."""
    columns = "ll" + "r" * (len(table.columns) - 1) + "l"
    body = [
        [tex(row.name), tex(row.family), *(_bold(cell, r"\textbf{{{}}}", tex) for cell in row.cells)]
        for row in table.rows
    ]
    return "\n".join(
        [
            f"% {' '.join(table.title.split())}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(tex, table.headings)) + r" \\",
            r"\midrule",
            *(" & ".join(cells) + r" \\" for cells in body),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\noindent{{\footnotesize {tex(note)}\par}}" for note in table.notes),
        ]
    )


_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "[": "{[}",
    "—": "---", "±": r"$\pm$", "≤": r"$\le$", "≥": r"$\ge$", "≈": r"$\approx$", "†": r"$^\dagger$",
    "↓": r"$\downarrow$", "↑": r"$\uparrow$", **{character: rf"\{character}" for character in "&%$#_{}"},
}  # fmt: skip
_TEX |= {mark: rf"$^{{{digit}}}$" for digit, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}


def tex(text: str) -> str:
    """Return a text with what LaTeX reads as a command written out."""
    return "".join(_TEX.get(character, character) for character in text)


def csv_text(tables: Sequence[Table]) -> str:
    """Return a line for each value, which is not rounded and has its kind."""
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
