"""``zoo claims``: the lecture's sentences, each with its measurement and its verdict. Imports no torch.

``ledger`` holds the sentences, ``statistics`` has the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from zoo.comparison.claims.ledger import decide
from zoo.comparison.collect import Run, gather
from zoo.record import write_atomic

__all__ = ["claims", "decide", "section"]


def claims(paths: Sequence[Path], out: Path | None, *, console: Console | None = None) -> int:
    """Judge every claim by the runs under ``paths``: on the terminal, then files into ``out``.

    Args:
        paths: directories that hold runs, at any depth.
        out: where ``claims.html``, ``claims.md``, ``verdicts.md`` (its table alone), ``claims.csv`` and
            ``claims/*.svg`` go; None: nowhere.
        console: where to print.

    Returns:
        0.

    Raises:
        ZooError: a path that does not exist, or no record under any of them.
    """
    from zoo.comparison.claims import render

    runs, console = gather(paths, console)
    decisions = decide(runs)
    render.terminal(decisions, console)
    if out is None:
        return 0
    from zoo.comparison import page
    from zoo.comparison.claims import figures

    out.mkdir(parents=True, exist_ok=True)
    drawn = figures.draw(decisions, out / "claims")
    write_atomic(out / "claims.md", render.markdown(decisions, drawn, out))
    write_atomic(out / "verdicts.md", render.verdicts(decisions))
    write_atomic(out / "claims.csv", render.csv_text(decisions))
    body = render.section(decisions, page.pictures(drawn))
    write_atomic(out / "claims.html", page.shell("The lecture's claims", body))
    console.print(f"page: {out / 'claims.html'}", markup=False, soft_wrap=True, highlight=False)
    return 0


def section(runs: Sequence[Run], out: Path) -> tuple[str, str]:
    """What runs decide, as two parts of a page whose figures go below ``out``: the verdicts, each with a link
    to what it is by, and that. Both are empty where nothing is decided."""
    from zoo.comparison import page
    from zoo.comparison.claims import figures, render

    telling = [decision for decision in decide(runs) if decision.tells]
    if not telling:
        return "", ""
    drawn = figures.draw(telling, out / "claims")
    heading = '<h2 id="claims">The lecture\'s claims, one by one</h2>'
    return render.overview(telling), heading + render.section(telling, page.pictures(drawn))
