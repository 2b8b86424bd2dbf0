"""Put tables of results into a Markdown page, each between the two markers that name it.

python scripts/embed.py README.md results/quickstart/summary.md results/toys/kinds.md
"""

from __future__ import annotations

import sys
from pathlib import Path

BEGIN, END = "<!-- begin: {} -->", "<!-- end -->"


def embed(page: str, table: str, name: str) -> str:
    """Return the page with ``table`` between the markers of ``name``.

    Raises:
        SystemExit: the page has no such markers.
    """
    head, begin, rest = page.partition(BEGIN.format(name))
    if not begin or END not in rest:
        raise SystemExit(f"The page has no marker {BEGIN.format(name)} ... {END}.")
    return f"{head}{begin}\n{table.strip()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    for table in sys.argv[2:]:
        page.write_text(
            embed(page.read_text(encoding="utf-8"), Path(table).read_text(encoding="utf-8"), table),
            encoding="utf-8",
        )
