"""Seconds of `make quickstart` in a fresh clone, to the first row and picture too, and its announced times.

The commit of this checkout is cloned, the environment is set up (`make setup`) and the quickstart runs in a
terminal of its own, whose text is read as it appears. A row is that of a job that has ended, a picture the
samples below it. The error of the announced time left is what was announced by what was left, less 1; it
counts while at least half a minute is left, and the least and the most of it are told. uv takes packages from
its cache where it has them, so set-up takes longer on a machine that has never had them.

It needs an idle machine of two cores and the network.

    python benchmarks/quickstart.py             # writes results/benchmarks/quickstart.json
    python benchmarks/quickstart.py --keep DIR  # the clone and the terminal's text stay in DIR
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from common import write

ROOT = Path(__file__).resolve().parents[1]
AIMS = {"total": 300.0, "first row": 90.0, "first picture": 90.0}  # seconds, with set-up
AIM_ERROR = 0.3
LEAST_LEFT = 30.0  # seconds left from which on an announcement counts: shorter ones are rounded too much
COLUMNS, LINES = 120, 50
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ROW = re.compile(r"(?m)^\W*(finished|failed|diverged|cut off) +\S+ \d+ s")
PICTURE = re.compile("[▀▄]")
LEFT = re.compile(r"(\d+) of (\d+) jobs · about ([\d.]+) (s|min|h) left")
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Piece(NamedTuple):
    """Text that appeared in the terminal, with the seconds since its command began."""

    seconds: float
    text: str


def watched(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[list[Piece], int]:
    """Run a command in a terminal; return what appeared in it and when, and the command's exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    begun, pieces, rest = time.monotonic(), [], b""
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # Linux's sign that no process has the terminal any more
            read = b""
        if not read:
            break
        whole, newline, rest = (rest + read).rpartition(b"\n")
        if newline:
            pieces.append(Piece(time.monotonic() - begun, plain(whole)))
    os.close(ours)
    pieces.append(Piece(time.monotonic() - begun, plain(rest)))
    return pieces, process.wait()


def plain(text: bytes) -> str:
    """Return what a terminal shows of a text: without colours and movements of the cursor."""
    return CONTROL.sub("", text.decode(errors="replace")).replace("\r", "\n")


def first(pattern: re.Pattern[str], pieces: Iterable[Piece]) -> float | None:
    """Return the seconds after which a pattern appeared first; None if it never did."""
    return next((piece.seconds for piece in pieces if pattern.search(piece.text)), None)


def errors(pieces: list[Piece], end: float) -> list[float]:
    """Return the relative error of each announced time left, but not of those near the ``end``."""
    return [
        float(value) * UNITS[unit] / (end - piece.seconds) - 1
        for piece in pieces
        if end - piece.seconds >= LEAST_LEFT
        for _, _, value, unit in LEFT.findall(piece.text)
    ]


def rows(set_up: float, pieces: list[Piece]) -> list[dict[str, Any]]:
    """Return the rows of the result: seconds with their aims, and the error of the time left.

    Raises:
        SystemExit: no job has ended, or no picture or time left was shown.
    """
    ends = [piece.seconds for piece in pieces for _ in ROW.findall(piece.text)]
    picture = first(PICTURE, pieces)
    wrong = errors(pieces, ends[-1]) if ends else []
    if not ends or picture is None or not wrong:
        raise SystemExit("The quickstart showed no row, no picture or no time left; nothing is written.")
    seconds = {
        "set-up": set_up,
        "first row": set_up + ends[0],
        "first picture": set_up + picture,
        "total": set_up + pieces[-1].seconds,
    }
    measured: list[dict[str, Any]] = [
        {
            "what": what,
            "seconds": round(value, 1),
            "aim_seconds": AIMS.get(what),
            "reached": value <= AIMS[what] if what in AIMS else None,
        }
        for what, value in seconds.items()
    ]
    worst = max(wrong, key=abs)
    return [
        *measured,
        {
            "what": "time left",
            "jobs": len(ends),
            "announcements": len(wrong),
            "worst_error": round(worst, 3),
            "least_error": round(min(wrong), 3),
            "most_error": round(max(wrong), 3),
            "share_within_aim": round(sum(abs(error) <= AIM_ERROR for error in wrong) / len(wrong), 3),
            "aim_error": AIM_ERROR,
            "reached": abs(worst) <= AIM_ERROR,
        },
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="an empty folder for the clone and the text")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as place:
        folder = Path(keep or place).resolve()
        clone = folder / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=clone, text=True).strip()
        environment = {
            key: value
            for key, value in os.environ.items()
            if key
            not in ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS", "MAKEFLAGS", "MAKELEVEL")
        } | {"TERM": "xterm-256color"}
        begun = time.monotonic()
        subprocess.run(["make", "setup"], cwd=clone, env=environment, check=True)
        set_up = time.monotonic() - begun
        pieces, code = watched(["make", "quickstart"], clone, environment)
        (folder / "terminal.txt").write_text(
            "\n".join(f"[{piece.seconds:.1f}] {piece.text}" for piece in pieces), encoding="utf-8"
        )
        if code:
            raise SystemExit(f"make quickstart ended with exit code {code}:\n{pieces[-1].text[-2000:]}")
        result = rows(set_up, pieces)
    for row in result:
        print("  ".join(f"{key} {value}" for key, value in row.items() if value is not None), flush=True)
    about = "seconds of make quickstart in a fresh clone, and relative errors of the time left"
    print(write("quickstart", result, about=about, commit=commit))


if __name__ == "__main__":
    main()
