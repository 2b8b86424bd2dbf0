"""From records to tables, figures and one page. Imports no torch; figures load matplotlib when drawn."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from zoo.comparison.collect import FILES, Run, fingerprint, folder_name, gather
from zoo.comparison.table import Table, build
from zoo.record import CURVES, write_atomic

__all__ = ["compare"]

POINTS = 250  # of a curve, about, in an archive


def compare(
    paths: Sequence[Path], out: Path | None, *, archive: bool = False, console: Console | None = None
) -> int:
    """Compare every run under ``paths``: the table on the terminal first, then files into ``out``.

    Args:
        paths: directories that hold runs, at any depth.
        out: where ``index.html``, ``table.{md,tex,csv}``, ``summary.md`` (what the terminal shows) and the
            figures go; None: only the terminal.
        archive: also copy records, curves and samples into ``out/records``, so that the comparison can be
            made again from there.
        console: where to print.

    Returns:
        0.

    Raises:
        ZooError: a path that does not exist, or no record under any of them.
    """
    from zoo.comparison import render

    runs, console = gather(paths, console)
    tables = build(runs)
    for table in tables:
        if not table.beside:
            render.terminal(table, console)
    if out is None:
        return 0
    out.mkdir(parents=True, exist_ok=True)
    stamp = fingerprint(runs)
    known = out / ".inputs"
    if not (known.exists() and known.read_text() == stamp and (out / "index.html").exists()):
        _write(runs, tables, out)
        write_atomic(known, stamp)
    if archive:
        for name in _archive(runs, out / "records"):
            note = (
                f"note: {out.name}/records/{name} is of an earlier comparison; delete it if it is not wanted"
            )
            console.print(note, style="yellow", markup=False, soft_wrap=True)
    shown = out.relative_to(Path.cwd()) if out.is_absolute() and out.is_relative_to(Path.cwd()) else out
    console.print(f"page:    {shown / 'index.html'}", markup=False, soft_wrap=True, highlight=False)
    console.print(f"samples: {shown / 'samples.png'}", markup=False, soft_wrap=True, highlight=False)
    return 0


def _write(runs: list[Run], tables: list[Table], out: Path) -> None:
    from zoo.comparison import claims, figures, page, render

    texts = [render.markdown(t) for t in tables]
    write_atomic(out / "table.md", "\n\n".join(texts) + "\n")
    main = [text for text, table in zip(texts, tables, strict=True) if not table.beside]
    write_atomic(out / "summary.md", "\n\n".join(main) + "\n")
    write_atomic(out / "table.tex", "\n\n".join(render.latex(t) for t in tables) + "\n")
    write_atomic(out / "table.csv", render.csv_text(tables))
    drawn = figures.draw(runs, out)
    write_atomic(out / "index.html", page.build(runs, tables, drawn, claims.section(runs, out)))


def _archive(runs: list[Run], folder: Path) -> list[str]:
    """Copy what a comparison reads; returns the archived runs that are not among ``runs``."""
    for run in runs:
        target = folder / folder_name(run.record.run_id)
        if target.resolve() == run.directory.resolve():
            continue
        target.mkdir(parents=True, exist_ok=True)
        for source in (run.directory / name for name in FILES if (run.directory / name).exists()):
            write_atomic(target / source.name, pack(source))
    kept = {folder_name(run.record.run_id) for run in runs}
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in kept)


def pack(file: Path) -> bytes:
    """What an archive holds of a file: arrays by LZMA, a sixth less than by deflate (numpy reads both).

    Of a long curve it holds the points that a figure can show, among them all on validation data.
    """
    content = file.read_bytes()
    if file.name == CURVES:
        return b"".join(_thin(content.splitlines(keepends=True)))
    return _compress(content) if file.suffix == ".npz" else content


def _thin(lines: list[bytes]) -> list[bytes]:
    validation = [name.startswith(b"val/") for name in b"".join(lines[:1]).split(b",")]

    def measured(line: bytes) -> bool:
        values = zip(validation, line.strip().split(b","), strict=False)
        return any(value for wanted, value in values if wanted)

    others = [index for index in range(1, len(lines)) if not measured(lines[index])]
    step = max(1, len(others) // POINTS)
    dropped = set(others) - set(others[::step]) - {len(lines) - 1}
    return [line for index, line in enumerate(lines) if index not in dropped]


def _compress(npz: bytes) -> bytes:
    packed = io.BytesIO()
    try:
        with (
            zipfile.ZipFile(io.BytesIO(npz)) as source,
            zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as target,
        ):
            for name in source.namelist():
                target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_LZMA)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
    ):  # damaged, and none of an archive's business
        return npz
    return packed.getvalue()
