"""Write the two tables of the README from committed results: families on digits, and the claims' verdicts.

python scripts/readme_tables.py
"""

from __future__ import annotations

import csv
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results"
COLUMNS = {
    "bits/dim": "bits/dim ↓",
    "fd/digits-cnn": "Fréchet distance ↓",
    "latency (ms)": "one sample (ms) ↓",
}
MARKS = {"lower bound": "≤ ", "estimate": "≈ "}
SLIDE = ("autoregressive", "vae-blurry", "gan-unstable", "flows-parallel-sharp", "matching-efficient")
DATA = ("digits", "all data")


def families(table: Path) -> str:
    """Return the Markdown table of one row a model from a comparison's ``table.csv``."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    with table.open(encoding="utf-8", newline="") as stream:
        for cell in csv.DictReader(stream):
            if cell["table"] == DATA[0] and cell["column"] in COLUMNS:
                row = rows.setdefault((cell["family"], cell["model"]), {})
                row[cell["column"]] = number(cell)
    head = f"| family | model | {' | '.join(COLUMNS.values())} |\n|---|---|---:|---:|---:|"
    lines = [
        f"| {family} | `{model}` | {' | '.join(row.get(column, '—') for column in COLUMNS)} |"
        for (family, model), row in rows.items()
        if model != "real data (floor)"
    ]
    return "\n".join([head, *lines]) + "\n"


def number(cell: dict[str, str]) -> str:
    """Return a cell's value with the mark of its kind; a dash for an empty cell."""
    if not cell["value"]:
        return "—"
    value = float(cell["value"])
    digits = 3 if cell["column"] == "bits/dim" else 2 if cell["column"].startswith("fd") else 1
    return f"{MARKS.get(cell['kind'], '')}{value:.{digits}f}{'†' if cell['kind'] == 'exact†' else ''}"


def slide(claims: Path) -> str:
    """Return the Markdown table of the slide's sentences and their verdicts from ``claims.csv``."""
    with claims.open(encoding="utf-8", newline="") as stream:
        parts = [row for row in csv.DictReader(stream) if row["data"] in DATA and row["claim"] in SLIDE]
    verdicts = {row["claim"]: row for row in parts}
    lines = [f"| {verdicts[key]['sentence']} | **{verdicts[key]['verdict']}** |" for key in SLIDE]
    return "\n".join(["| the slide says | measured on digits |", "|---|---|", *lines]) + "\n"


if __name__ == "__main__":
    target = RESULTS / "readme"
    target.mkdir(exist_ok=True)
    (target / "families.md").write_text(families(RESULTS / "quickstart/table.csv"))
    (target / "slide.md").write_text(slide(RESULTS / "claims/claims.csv"))
