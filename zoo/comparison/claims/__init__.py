"""``zoo claims``: the lecture's sentences, each with its measurement and its verdict. Imports no torch.

``sentences/`` holds the claims, one file each. ``verdict`` is their framework; ``measure``, ``scaling``,
``sensitivity`` and ``sharp`` are the measurements that they share; ``statistics`` has the tests; ``wording``,
``render`` and ``figures`` write the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from zoo.comparison.claims import verdict
from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.claims.verdict import Decision
from zoo.comparison.collect import Run, gather
from zoo.record import write_atomic

__all__ = ["claims", "decide"]


def claims(paths: Sequence[Path], out: Path | None, *, console: Console | None = None) -> int:
    """Judge every claim by the runs under ``paths``, print the ledger, and write it to files.

    Args:
        paths: directories that hold runs, at any depth.
        out: the directory of ``claims.html``, ``claims.md``, ``verdicts.md`` (the table of verdicts alone),
            ``rules.md`` and ``changes.md`` (the registered rules, and what was changed in them after data),
            ``claims.csv`` and ``claims/*.svg``; None: no file is written.
        console: where to print.

    Returns:
        0.

    Raises:
        ZooError: a path does not exist, or there is no record under any of them.
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
    write_atomic(out / "rules.md", render.registered_rules(all_claims()))
    write_atomic(out / "changes.md", render.changes(all_claims()))
    write_atomic(out / "claims.csv", render.csv_text(decisions))
    body = render.section(decisions, page.pictures(drawn))
    write_atomic(out / "claims.html", page.shell("The lecture's claims", body))
    console.print(f"page: {out / 'claims.html'}", markup=False, soft_wrap=True, highlight=False)
    return 0


def decide(runs: Sequence[Run]) -> list[Decision]:
    """Return the decision about every claim, in the order of the lecture; see :func:`.verdict.decide`."""
    return verdict.decide(runs, all_claims())
