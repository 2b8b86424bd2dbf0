"""Put a table that ``zoo compare`` wrote into a Markdown page, between its two markers.

python results/embed.py README.md results/quickstart/summary.md
"""

from __future__ import annotations

import sys
from pathlib import Path

BEGIN, END = "<!-- begin: {} -->", "<!-- end -->"


def embed(page: str, table: str, name: str) -> str:
    """The page with ``table`` between the markers of ``name``."""
    head, found, rest = page.partition(BEGIN.format(name))
    if not found or END not in rest:
        raise SystemExit(f"The page has no marker {BEGIN.format(name)} ... {END}.")
    return f"{head}{found}\n{table.strip()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    page, table = map(Path, sys.argv[1:3])
    page.write_text(embed(page.read_text(), table.read_text(), str(table)))
