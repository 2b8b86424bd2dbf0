"""``zoo figure``: one figure of records, for a paper."""

from __future__ import annotations

from argparse import Namespace

from zoo.comparison.collect import gather
from zoo.comparison.figures.paper import make


def draw(options: Namespace) -> int:
    """Draw the figure of the command line and print its file; return 0."""
    runs, _ = gather(options.paths)
    print(make(options.kind, runs, options.out, options.width, options.data))
    return 0
