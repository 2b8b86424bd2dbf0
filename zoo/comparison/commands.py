"""``zoo compare`` and ``zoo claims``: print tables and verdicts, and write the files.

Figures and pages are imported where they are made, so that a table on the terminal appears at once.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from zoo.comparison import render
from zoo.comparison.archive import archive as copy_records
from zoo.comparison.archive import pack_runs
from zoo.comparison.collect import Run, damaged_files, fingerprint, gather, no_search_for_cycles, warn
from zoo.comparison.tables import Table, build
from zoo.comparison.view import View
from zoo.record import RECORD, write_atomic

if TYPE_CHECKING:
    from zoo.comparison.page.runs import Published

    PublishedOf = Callable[[Sequence[Run]], Mapping[str, Sequence[Published]]]


def compare(
    paths: Sequence[Path],
    out: Path | None,
    *,
    archive: bool = False,
    pack: Path | None = None,
    console: Console | None = None,
    view: View | None = None,
    form: str | None = None,
    published: PublishedOf | None = None,
) -> int:
    """Compare every run below ``paths``: the table on the terminal first, then files in ``out``.

    Args:
        paths: directories that hold runs, at any depth.
        out: where ``index.html``, ``table.{md,tex,csv}``, ``summary.md`` (the tables of the terminal) and the
            figures are written; None: only the terminal is.
        archive: whether to copy records, curves and samples into ``out/records``, from which the comparison
            can be made again.
        pack: file that receives the same of all runs (``.tar.gz`` or ``.tar.xz``); it may stand for them in
            ``paths``.
        console: where to print.
        view: the data sets, columns and order of the tables that are printed; None: all. Files have all.
        form: ``md``, ``latex``, ``csv`` or ``json``: print the tables in this form; None: for a terminal.
        published: returns the published values of runs by their id, for the page.

    Returns:
        0, the exit code.

    Raises:
        ZooError: a path does not exist, or there is no record below any of them.
    """
    view = view or View()
    named = bool(view.columns or view.sort)  # columns, which may be in the tables beside
    with no_search_for_cycles():
        runs, console = gather(paths, console)
        if out is not None:
            warn(chain.from_iterable(map(damaged_files, runs)), console)
        tables = build(runs, beside=named or out is not None)
        chosen = build(view.runs(runs), beside=named) if view.data else tables
    printed = view.tables(chosen, status=form is None)
    if form is not None:
        in_rows = form in ("md", "latex") and view.sort is None
        print(render.FORMATS[form](render.folded(printed) if in_rows else printed))
    for table in printed if form is None else []:
        render.terminal(table, console, folded=view.sort is None)
    if pack is not None:
        pack_runs(runs, pack)
        console.print(f"packed: {len(runs)} runs in {pack}", markup=False, soft_wrap=True, highlight=False)
    if out is None:
        return 0
    out.mkdir(parents=True, exist_ok=True)
    command = _command(paths, out, archive)
    stamp, known = f"{fingerprint(runs)} {command}", out / ".inputs"
    if not (known.exists() and known.read_text(encoding="utf-8") == stamp and (out / "index.html").exists()):
        _write_files(runs, tables, out, command, published)
        write_atomic(known, stamp)
    if archive:
        for name in copy_records(runs, out / "records"):
            console.print(
                f"note: {out.name}/records/{name} is of an earlier comparison; delete it if it is not wanted",
                style="yellow", markup=False, soft_wrap=True,
            )  # fmt: skip
    shown = out.relative_to(Path.cwd()) if out.is_absolute() and out.is_relative_to(Path.cwd()) else out
    console.print(f"page:    {shown / 'index.html'}", markup=False, soft_wrap=True, highlight=False)
    console.print(f"samples: {shown / 'samples.png'}", markup=False, soft_wrap=True, highlight=False)
    return 0


def _write_files(
    runs: list[Run], tables: list[Table], out: Path, command: str, published: PublishedOf | None = None
) -> None:
    from zoo.comparison import figures, page
    from zoo.comparison.claims import decide

    main = render.folded([table for table in tables if not table.beside], others=False)
    write_atomic(out / "summary.md", render.FORMATS["md"](main) + "\n")
    write_atomic(out / "table.md", render.FORMATS["md"](render.folded(tables)) + "\n")
    write_atomic(out / "table.tex", render.FORMATS["latex"](render.folded(tables)) + "\n")
    write_atomic(out / "table.csv", render.csv_text(tables))
    drawn = figures.draw(runs, out)
    values = published(runs) if published else None
    text = page.build(runs, tables, drawn, decide(runs), published=values, command=command)
    write_atomic(out / "index.html", text)


def _command(paths: Sequence[Path], out: Path, archive: bool) -> str:
    """Return the command that makes the page again, from the archived records if there are any.

    Of a path outside of the working directory only the last part is told: the page may go to others.
    """

    def told(path: Path) -> str:
        if not path.is_absolute() and ".." not in path.parts:
            return str(path)
        inside = path.resolve().is_relative_to(Path.cwd())
        return str(path.resolve().relative_to(Path.cwd())) if inside else path.name

    sources = [out / "records"] if archive else _together(paths)
    return shlex.join(["zoo", "compare", *map(told, sources), "-o", told(out)])


def _together(paths: Sequence[Path]) -> Sequence[Path]:
    """Return the directory that holds these runs, if it holds no others, as after a sweep; else the paths."""
    folders = {path.parent for path in paths}
    if len(paths) < 2 or len(folders) > 1:
        return paths
    folder = folders.pop()
    return [folder] if {file.parent for file in folder.glob(f"*/{RECORD}")} == set(paths) else paths


def claims(paths: Sequence[Path], out: Path | None, *, console: Console | None = None) -> int:
    """Judge every claim by the runs under ``paths``, print the ledger, and write it to files.

    Args:
        paths: directories that hold runs, at any depth.
        out: the directory of ``claims.html``, ``claims.md``, ``verdicts.md`` (the table of verdicts alone),
            ``rules.md``, ``changes.md`` and ``rewrites.md`` (the registered rules, what was changed in them
            after data, and when unchanged ones were hashed anew), ``claims.csv`` and ``claims/*.svg``; None:
            no file is written.
        console: where to print.

    Returns:
        0.

    Raises:
        ZooError: a path does not exist, or there is no record under any of them.
    """
    from zoo.comparison.claims import decide
    from zoo.comparison.claims import render as ledger
    from zoo.comparison.claims.sentences import all_claims

    runs, console = gather(paths, console)
    decisions = decide(runs)
    ledger.terminal(decisions, console)
    if out is None:
        return 0
    from zoo.comparison import page, templates
    from zoo.comparison.figures import ledger as figures

    out.mkdir(parents=True, exist_ok=True)
    drawn = figures.draw(decisions, out / "claims")
    write_atomic(out / "claims.md", ledger.markdown(decisions, drawn, out))
    write_atomic(out / "verdicts.md", ledger.verdicts(decisions))
    write_atomic(out / "rules.md", ledger.registered_rules(all_claims()))
    write_atomic(out / "changes.md", ledger.changes(all_claims()))
    write_atomic(out / "rewrites.md", ledger.rewrites())
    write_atomic(out / "claims.csv", ledger.csv_text(decisions))
    body = ledger.section(decisions, page.pictures(drawn))
    write_atomic(out / "claims.html", templates.shell("The lecture's claims", body))
    console.print(f"page: {out / 'claims.html'}", markup=False, soft_wrap=True, highlight=False)
    return 0
