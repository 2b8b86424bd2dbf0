"""Seconds of the commands that do not train, from the start of a fresh process to its end.

For comparison: an interpreter that does nothing, and one that imports torch, which is the least time of a
command that needs torch. The ratio is a command's time by torch's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from common import medians, write

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "comparison"))
from fake_records import nine  # noqa: E402

COMMANDS = {
    "python": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "zoo --help": ["-m", "zoo", "--help"],
    "zoo compare, 9 records": ["-m", "zoo", "compare", "runs"],
    "zoo claims, 9 records": ["-m", "zoo", "claims", "runs"],
    "zoo sweep quickstart --dry-run": ["-m", "zoo", "sweep", "quickstart", "--dry-run"],
}


def process(arguments: list[str], folder: str) -> Callable[[], object]:
    """Return a job that runs a fresh interpreter to its end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return lambda: subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        nine(Path(folder) / "runs")
        seconds = medians({name: process(arguments, folder) for name, arguments in COMMANDS.items()}, 5, 60.0)
    rows = [
        {"command": name, "seconds": round(value, 3), "ratio": round(value / seconds["import torch"], 2)}
        for name, value in seconds.items()
    ]
    for row in rows:
        print(f"{row['command']:32} {row['seconds']:6.2f} s  {row['ratio']:5.2f}", flush=True)
    print(write("startup", rows, about="seconds of a fresh process; ratios by one that imports torch"))


if __name__ == "__main__":
    main()
