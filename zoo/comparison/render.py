"""Tables as text: terminal, Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from zoo.comparison.lines import say, show
from zoo.comparison.tables import BETWEEN_MARKS, Cell, Row, Table
from zoo.comparison.tables.cells import FOOTNOTE

ROWS = 200  # largest number of a table's rows, and of its notes, on the terminal; the files have all
BUDGET = {"updates", "images seen"}  # columns that the terminal does not show
FAMILY_WIDTH = len("autoregressive")
BOLD = (
    "bold: the best, and what is not told apart from it and surely better than some other where the best is; "
    "of counts the least"
)
GAP = 2  # characters between two columns: padding and the line of the box
WIDE = 100  # characters of a line from which families have a column


def terminal(table: Table, console: Console, *, folded: bool = True) -> None:
    """Print a table and its notes; of a very long table only the beginning.

    Columns that do not fit beside each other stand in blocks below each other, each with the models' names.

    Args:
        table: the table.
        console: where it is printed.
        folded: of several models print one row each, and how many other configurations each has.
    """
    table, others = parts(table) if folded else (table, None)
    left_out = _left_out(others, "shown by --sort COLUMN") if others else ""
    finished = all(re.fullmatch(r"(\d+ )?(finished)?", row.cells[-1].text) for row in table.rows)
    hidden = BUDGET | ({"status"} if finished else set())
    shown = [index for index, column in enumerate(table.columns) if column not in hidden]
    rows = table.rows[:ROWS]
    blocks = _blocks(table, rows, shown, console.width)
    for place, block in enumerate(blocks):
        show(_block(table, rows, block, console.width, first=place == 0), console)
    if len(table.rows) > ROWS:
        more = len(table.rows) - ROWS
        console.print(f"  and {more} more row{'s' * (more > 1)}; zoo compare -o DIR writes all")
    for note in [*filter(None, [left_out]), *_notes(table, bold=console.color_system is not None)[:ROWS]]:
        say(note, console, indent=2, style="dim")
    console.print()


def parts(table: Table) -> tuple[Table, Table | None]:
    """Return a table with one row for each model, and one of the other configurations.

    The table is left as it is where there are no others, or where it is of a single model. A footnote stands
    below the part that it marks a cell of, every other note below the first.
    """
    others = [row for row in table.rows if row.variant]
    models = sum(bool(row.runs) and not row.variant for row in table.rows)
    if not others or models < 2:
        return table, None
    rows = [row for row in table.rows if not row.variant]
    captions = [note for note in table.notes if not FOOTNOTE.match(note)]
    first = replace(table, rows=rows, notes=[*captions, *_footnotes(table, rows)])
    title = f"{table.title}: other configurations"
    return first, replace(table, title=title, rows=others, notes=_footnotes(table, others))


def _footnotes(table: Table, rows: Sequence[Row]) -> list[str]:
    """Return the footnotes of a table to which marks in the cells of some rows may refer."""
    marks = {mark for row in rows for cell in row.cells for mark in cell.marks.split(BETWEEN_MARKS)}
    return [note for note in table.notes if (found := FOOTNOTE.match(note)) and found.group() in marks]


def _left_out(others: Table, where: str) -> str:
    counts = Counter(row.variant for row in others.rows)
    return f"other configurations, {where}: {', '.join(f'{n} of {model}' for model, n in counts.items())}"


def folded(tables: Sequence[Table], *, others: bool = True) -> list[Table]:
    """Return each table with one row for each model, and a note that says where the other configurations are.

    Args:
        tables: the tables.
        others: whether the other configurations of a table follow in a table of their own; False: they are in
            ``table.csv`` alone.
    """
    found = []
    for table in tables:
        first, rest = parts(table)
        if rest is not None:
            note = _left_out(rest, "in the table after this one" if others else "in table.csv")
            first = replace(first, notes=[note, *first.notes])
        found += [first, rest] if rest is not None and others else [first]
    return found


def _notes(table: Table, bold: bool = True) -> list[str]:
    """Return the notes of a table, with one on bold print if ``bold`` says that the form shows it."""
    marked = bold and any(cell.best for row in table.rows for cell in row.cells)
    return [*[BOLD] * marked, *table.notes]


def _headings(table: Table, rows: Sequence[Row]) -> list[str]:
    """Return the headings with the kinds of error that ± shows in their columns: sd, se or both."""
    kinds = [
        "/".join(kind for kind in ("sd", "se") if any(row.cells[i].error == kind for row in rows))
        for i in range(len(table.columns))
    ]
    columns = [
        f"{column} ± {kind}" if kind else column for column, kind in zip(table.columns, kinds, strict=True)
    ]
    return replace(table, columns=columns).headings


def _name_width(rows: Sequence[Row], width: int) -> int:
    """Return the width of the models' names, which wrap where they are longer than a third of the line."""
    longest = max([len("model"), *(cell_len(row.name) for row in rows)])
    return longest if width >= WIDE else min(longest, max(12, width // 3))


def _blocks(table: Table, rows: Sequence[Row], shown: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns of each block, so that every block fits the width."""
    headings = _headings(table, rows)[2:]
    free = width - _name_width(rows, width) - GAP
    blocks: list[list[int]] = [[]]
    used = FAMILY_WIDTH + GAP if width >= WIDE else 0
    for index in shown:
        need = max([cell_len(headings[index]), *(cell_len(row.cells[index].shown) for row in rows)]) + GAP
        if blocks[-1] and used + need > free:
            blocks.append([])
            used = 0
        blocks[-1].append(index)
        used += need
    return blocks


def _block(table: Table, rows: Sequence[Row], columns: Sequence[int], width: int, first: bool) -> RichTable:
    """Return one block as a table; the first has the title and, where there is room, the families."""
    model, family, *headings = _headings(table, rows)
    rich = RichTable(
        title=escape(table.title) if first else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    rich.add_column(model, width=_name_width(rows, width), overflow="fold")
    with_family = first and width >= WIDE
    if with_family:
        rich.add_column(family, min_width=FAMILY_WIDTH)
    for index in columns:
        justify: Literal["left", "right"] = "left" if table.columns[index] == "status" else "right"
        rich.add_column(escape(headings[index]), justify=justify, no_wrap=table.columns[index] != "status")
    for row in rows:
        cells = [_bold(row.cells[index], "[bold]{}[/]", escape) for index in columns]
        names = [f"[bold]{escape(row.name)}[/]", *[f"[dim]{escape(row.family)}[/]"] * with_family]
        rich.add_row(*names, *cells)
    return rich


def _bold(cell: Cell, bold: str, quote: Callable[[str], str]) -> str:
    """Return a cell's quoted text, in bold where it is the best."""
    return bold.format(quote(cell.shown)) if cell.best else quote(cell.shown)


def markdown(table: Table) -> str:
    """Return a table in GitHub's Markdown, with its notes below."""
    lines = [f"**{md(table.title)}**", ""]
    lines.append("| " + " | ".join(map(md, _shown_headings(table))) + " |")
    lines.append("|" + "---|" * (1 if table.chosen else 2) + "---:|" * len(table.columns))
    for row in table.rows:
        cells = [_bold(cell, "**{}**", md) for cell in row.cells]
        lines.append("| " + " | ".join([*map(md, _names(table, row)), *cells]) + " |")
    return "\n".join(lines + [""] + [f"- {md(note)}" for note in _notes(table)])


def _shown_headings(table: Table) -> list[str]:
    """Return the headings, without that of the family where a reader chose the columns."""
    model, family, *columns = _headings(table, table.rows)
    return [model, *columns] if table.chosen else [model, family, *columns]


def _names(table: Table, row: Row) -> list[str]:
    """Return a row's name, and its family unless a reader chose the columns."""
    return [row.name] if table.chosen else [row.name, row.family]


def md(text: str) -> str:
    """Return a text as the cell of a table in Markdown."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def latex(table: Table) -> str:
    """Return a table as a ``tabular`` for the package booktabs, with its notes in small print below."""
    sides = "".join("l" if column == "status" else "r" for column in table.columns)
    columns = ("l" if table.chosen else "ll") + sides
    body = [
        [*map(tex, _names(table, row)), *(_bold(cell, r"\textbf{{{}}}", tex) for cell in row.cells)]
        for row in table.rows
    ]
    return "\n".join(
        [
            f"% {' '.join(table.title.split())}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(tex, _shown_headings(table))) + r" \\",
            r"\midrule",
            *(" & ".join(cells) + r" \\" for cells in body),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\noindent{{\footnotesize {tex(note)}\par}}" for note in _notes(table)),
        ]
    )


_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "[": "{[}",
    "—": "---", "±": r"$\pm$", "≤": r"$\le$", "≥": r"$\ge$", "≈": r"$\approx$", "†": r"$^\dagger$",
    "·": r"$\cdot$", "χ": r"$\chi$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "↓": r"$\downarrow$", "↑": r"$\uparrow$", **{character: rf"\{character}" for character in "&%$#_{}"},
}  # fmt: skip
_TEX |= {mark: rf"$^{{{digit}}}$" for digit, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}


def tex(text: str) -> str:
    """Return a text with what LaTeX reads as a command written out."""
    return "".join(_TEX.get(character, character) for character in text)


def csv_text(tables: Sequence[Table]) -> str:
    """Return a line for each value, which is not rounded and has its kind.

    Where a reader chose the columns, families and notes are left out.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = ["table", "model", "family", "column", "value", "spread", "kind", "seeds", "note"]
    if any(table.chosen for table in tables):
        names = [name for name in names if name not in ("family", "note")]
    writer.writerow(names)
    for table in tables:
        for row in table.rows:
            seeds = len({run.record.seed for run in row.runs})
            for column, cell in zip(table.columns, row.cells, strict=True):
                value = cell.text if column == "status" else "" if cell.value is None else repr(cell.value)
                spread = "" if cell.spread is None else repr(cell.spread)
                fields = {
                    "table": table.title, "model": row.name, "family": row.family, "column": column,
                    "value": value, "spread": spread, "kind": cell.kind, "seeds": seeds, "note": cell.note,
                }  # fmt: skip
                writer.writerow([fields[name] for name in names])
    return stream.getvalue()


def json_text(tables: Sequence[Table]) -> str:
    """Return the tables as JSON: every value with its spread, kind, number of seeds and printed text."""
    content = [
        {
            "title": table.title,
            "columns": table.columns,
            "directions": table.directions,
            "rows": [
                {
                    "model": row.name,
                    "family": row.family,
                    "runs": [run.record.run_id for run in row.runs],
                    "cells": {
                        column: {
                            "text": cell.shown, "value": cell.value, "spread": cell.spread,
                            "kind": cell.kind, "seeds": cell.seeds, "best": cell.best, "note": cell.note,
                        }
                        for column, cell in zip(table.columns, row.cells, strict=True)
                    },
                }
                for row in table.rows
            ],
            "notes": table.notes,
        }
        for table in tables
    ]  # fmt: skip
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "md": lambda tables: "\n\n".join(map(markdown, tables)),
    "latex": lambda tables: "\n\n".join(map(latex, tables)),
    "csv": lambda tables: csv_text(tables).rstrip("\n"),
    "json": json_text,
}
