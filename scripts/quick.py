"""Run the tests of the files changed since the last commit; those of the core if none has changed.

A changed test file is run whole. A changed module is covered by the tests that mirror it: those of
``zoo/models/vae.py`` are ``tests/models/test_vae*.py``, or, if there are none, those of the nearest
folder above that has any. A changed file below ``conf/`` is covered by ``tests/config``. The core is the code
that all else uses: records, settings, configuration.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = ("tests/test_checks.py", "tests/record", "tests/config", "tests/models/core", "tests/comparison")


def changed() -> list[Path]:
    """Return the files that differ from the last commit, new ones included."""
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=all"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    files = (Path(line[3:].rpartition(" -> ")[2].strip('"')) for line in lines)
    return [file for file in files if (ROOT / file).is_file()]


def tests_of(file: Path) -> list[Path]:
    """Return the tests of a changed file, relative to the root."""
    if file.parts[0] == "tests":
        return [file] if file.name.startswith("test_") else [file.parent]
    if file.parts[0] == "conf":
        return [Path("tests/config")]
    if file.parts[0] != "zoo" or file.suffix != ".py":
        return []
    folder = ROOT / "tests" / Path(*file.parts[1:-1])
    tests = sorted(folder.glob(f"test_{file.stem}*.py"))
    while not tests and folder != ROOT / "tests":
        tests = sorted(folder.glob("test_*.py"))
        folder = folder.parent
    return [path.relative_to(ROOT) for path in tests]


def main() -> int:
    """Run pytest on the tests and return its exit code."""
    tests = sorted({str(test) for file in changed() for test in tests_of(file)})
    if not tests:
        tests = [path for path in CORE if (ROOT / path).exists()]
    print(f"pytest {' '.join(tests)}", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", "-x", *tests], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
