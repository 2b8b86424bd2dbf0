"""Write the tables of the README and of docs/results.md from committed results, and the figure of the slide.

python scripts/readme_tables.py
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.collect import collect
from zoo.comparison.figures.paper import make
from zoo.comparison.page.shorten import study_id
from zoo.comparison.recommend import recommend
from zoo.comparison.slide import Row, markdown
from zoo.comparison.slide import slide as measured_slide
from zoo.comparison.slide.questions import Cell
from zoo.comparison.studies import studies

RESULTS = Path(__file__).resolve().parents[1] / "results"
COLUMNS = {
    "bits/dim": "bits/dim ↓",
    "fd/digits-cnn": "Fréchet distance ↓",
    "latency (ms)": "one sample (ms) ↓",
}
MARKS = {"lower bound": "≤ ", "estimate": "≈ "}
DATA = "digits"
# Where the cells of the slide link to, as seen from docs/results.md, in which the table is embedded.
LEDGER, PAGE = "claims.md", "../results/claims/index.html"


def families(table: Path) -> str:
    """Return the Markdown table of one row a model from a comparison's ``table.csv``."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    with table.open(encoding="utf-8", newline="") as stream:
        for cell in csv.DictReader(stream):
            if cell["table"] == DATA and cell["column"] in COLUMNS:
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


def slide(records: Path) -> str:
    """Return the Markdown table of the measured slide: verdicts, numbers, and links to their evidence.

    A cell links to the claim in the ledger that asks the same, or else to its own evidence on the HTML page.
    """
    runs = collect([records])[0]
    measured = measured_slide(runs, DATA)
    if measured is None:
        raise SystemExit(f"{records} has no finished run on {DATA}.")
    claims = {claim.key: heading_anchor(claim.sentence) for claim in all_claims()}
    (study,) = (
        one for one in studies(runs) if (one.title, one.protocol) == (measured.data, measured.protocol)
    )

    def link(row: Row, cell: Cell) -> str:
        if cell.claim:
            return f"{LEDGER}#{claims[cell.claim]}"
        return f"{PAGE}#{urlencode({'s': study_id(study), 'ev': f'{row.family}|{cell.question}'})}"

    return markdown(measured, link)


def undecided(records: Path) -> str:
    """Return what the decision helper says without a constraint, and how much each family was tuned."""
    study = studies(collect([records])[0])[0]  # that of most runs
    answer = recommend([study])
    tried = Counter(group.family for group in study.groups)
    counts = ", ".join(f"{family} {n}" for family, n in tried.most_common())
    said = " ".join(block.certainty for block in answer.blocks)
    return f"> {said}\n\nConfigurations tried, by family: {counts}.\n"


def heading_anchor(sentence: str) -> str:
    """Return the anchor that GitHub gives to a heading.

    >>> heading_anchor("VAEs are blurry.")
    'vaes-are-blurry'
    """
    return re.sub(r"[^\w\- ]", "", sentence.lower()).replace(" ", "-")


if __name__ == "__main__":
    target = RESULTS / "readme"
    target.mkdir(exist_ok=True)
    (target / "families.md").write_text(families(RESULTS / "quickstart/table.csv"))
    (target / "slide.md").write_text(slide(RESULTS / "claims/records.tar.xz"), encoding="utf-8")
    (target / "undecided.md").write_text(undecided(RESULTS / "claims/records.tar.xz"), encoding="utf-8")
    make("slide", collect([RESULTS / "claims/records.tar.xz"])[0], target / "slide.svg", "page", DATA)
