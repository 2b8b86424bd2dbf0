"""Break the most important lines of zoo one at a time, and see that a test notices each.

The mutations are in ``mutations.yaml``: a name, what goes wrong, a file, the text to replace (it must occur
exactly once), the text to put there, and the tests of which one must fail. Everything happens in a temporary
copy of the repository. The unchanged copy must pass all these tests first. A mutation that no test notices
has survived: the exit code is then 1, and a test is missing.

    make mutations
    python scripts/mutations.py --only actnorm-sign spline-inverse-sign
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".yaml")
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-n", "0")
LIBRARIES = ["lightning.pytorch", "torchmetrics", "torchvision", "scipy.stats", "hydra", "pytest"]
LATER = 60  # seconds by which a changed file is newer, so that Python compiles it again


@dataclass(frozen=True)
class Mutation:
    """One change of a line of code that a test must notice.

    Attributes:
        name: a short name, for ``--only``.
        what: what goes wrong.
        file: the changed file, relative to the root.
        old: the text that is replaced.
        new: the text in its place.
        tests: files or node ids, relative to the root; one of their tests must fail.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, text: str) -> str:
        """Return a file's text with this change.

        Raises:
            ValueError: the old text does not occur exactly once.
        """
        count = text.count(self.old)
        if count != 1:
            raise ValueError(
                f"Mutation {self.name}: {self.old!r} occurs {count} times in {self.file}, not once; "
                f"write the line as it is now into scripts/{LIST.name}."
            )
        return text.replace(self.old, self.new)

    def check(self, root: Path) -> None:
        """Hold the mutation against the files below ``root``.

        Raises:
            ValueError: the old text does not occur exactly once, the new one is the same, or a test is gone.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if self.apply(text) == text:
            raise ValueError(f"Mutation {self.name} changes nothing.")
        for test in self.tests:
            file, _, name = test.partition("::")
            content = (root / file).read_text(encoding="utf-8") if (root / file).is_file() else ""
            start = f"def {name.partition('[')[0]}(" if name else "def test_"
            if not re.search(rf"^{re.escape(start)}", content, re.MULTILINE):
                raise ValueError(
                    f"Mutation {self.name}: there is no test {test}; write its present name into "
                    f"scripts/{LIST.name}."
                )


@dataclass(frozen=True)
class Result:
    """How a mutation ended.

    Attributes:
        killer: the test that failed; empty if the mutation survived.
        seconds: how long its tests took.
    """

    mutation: Mutation
    killer: str
    seconds: float


def read(path: Path = LIST) -> list[Mutation]:
    """Return the mutations of a list, in its order."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Mutation(name, **{**entry, "tests": tuple(entry["tests"])}) for name, entry in entries.items()]


def copy_repository(target: Path) -> None:
    """Copy the repository's files as they are now, without those that git ignores."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run_tests(copy: Path, tests: Sequence[str], write_bytecode: bool = False) -> tuple[int, str]:
    """Run tests of the copy with the copy's zoo; return pytest's exit code and what it printed.

    They run in a process of their own, forked from one that has imported the libraries, which spares every
    mutation the seconds that this takes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    with tempfile.TemporaryDirectory(prefix="zoo-mutations-output-") as directory:
        output = Path(directory) / "output"
        process = context.Process(target=_run_pytest, args=(copy, tuple(tests), write_bytecode, output))
        process.start()
        process.join()
        return process.exitcode or 0, output.read_text(encoding="utf-8")


def _run_pytest(copy: Path, tests: Sequence[str], write_bytecode: bool, output: Path) -> None:
    """Run pytest in this process and exit with its code."""
    import pytest

    with output.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = not write_bytecode
    code = int(pytest.main([*OPTIONS, *tests]))
    sys.stdout.flush()
    os._exit(code)


def try_all(mutations: Sequence[Mutation], copy: Path) -> Iterator[Result]:
    """Apply one mutation after another to the copy, each alone, and yield how it ended.

    Raises:
        RuntimeError: the tests fail without a mutation, or could not be run with one.
    """
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    code, output = run_tests(copy, tests, write_bytecode=True)
    if code != 0:
        raise RuntimeError(f"The tests fail without any mutation; repair them first.\n{output[-4000:]}")
    for mutation in mutations:
        file = copy / mutation.file
        kept, times = file.read_text(encoding="utf-8"), file.stat()
        file.write_text(mutation.apply(kept), encoding="utf-8")
        os.utime(file, (times.st_atime, times.st_mtime + LATER))
        started = time.monotonic()
        code, output = run_tests(copy, mutation.tests)
        seconds = time.monotonic() - started
        file.write_text(kept, encoding="utf-8")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
        if code not in (0, 1) or (code == 1 and failed is None):
            raise RuntimeError(
                f"Mutation {mutation.name}: its tests could not be run; it must change what the code does, "
                f"not whether it can be imported.\n{output[-4000:]}"
            )
        yield Result(mutation, failed[1] if failed else "", seconds)


def commit() -> str:
    """Return the short name of the commit, and whether the files differ from it."""
    return _git("rev-parse", "--short", "HEAD") + (" with changes" if _git("status", "--porcelain") else "")


def report(results: Sequence[Result], source: str) -> str:
    """Return the results as a page of Markdown.

    Args:
        results: how the mutations ended.
        source: the commit of the files.
    """
    survived = [result for result in results if not result.killer]
    lines = [
        "# Mutations",
        "",
        "Each line of the table is one deliberate mistake, alone in a copy of the repository, and the first "
        "test that failed because of it. Made by `make mutations`; the list is `scripts/mutations.yaml`.",
        "",
        f"{len(results) - len(survived)} of {len(results)} killed, {len(survived)} survived, in "
        f"{sum(result.seconds for result in results):.0f} s. Commit {source}, Python "
        f"{platform.python_version()}, torch {version('torch')}, pytest {version('pytest')}.",
        "",
        "| mutation | what goes wrong | file | change | killed by |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        mutation = result.mutation
        change = f"{_code(mutation.old)} → {_code(mutation.new)}"
        killer = _code(result.killer.removeprefix("tests/")) if result.killer else "**SURVIVED**"
        lines.append(f"| {mutation.name} | {mutation.what} | `{mutation.file}` | {change} | {killer} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; return 1 if a mutation survived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="print the mutations and run nothing")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="the mutations to run")
    parser.add_argument("--report", type=Path, help="write the report to this file, too")
    options = parser.parse_args(arguments)
    mutations = read()
    if options.only:
        unknown = set(options.only) - {mutation.name for mutation in mutations}
        if unknown:
            parser.error(f"There is no mutation {', '.join(sorted(unknown))}; --list prints the names.")
        mutations = [mutation for mutation in mutations if mutation.name in options.only]
    width = max(len(mutation.name) for mutation in mutations)
    if options.list:
        for mutation in mutations:
            print(f"{mutation.name:{width}}  {mutation.file}: {mutation.what}")
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    results = []
    try:
        for mutation in mutations:
            mutation.check(ROOT)
        with tempfile.TemporaryDirectory(prefix="zoo-mutations-") as directory:
            copy_repository(Path(directory))
            source = commit()
            for result in try_all(mutations, Path(directory)):
                results.append(result)
                ending = f"killed by {result.killer}" if result.killer else "SURVIVED"
                print(f"{result.mutation.name:{width}}  {result.seconds:4.0f} s  {ending}", flush=True)
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    text = report(results, source)
    print(f"\n{text}")
    if options.report:
        options.report.write_text(text, encoding="utf-8")
    return 0 if all(result.killer for result in results) else 1


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _code(text: str) -> str:
    return "`" + " ".join(text.split()).replace("|", "\\|") + "`" if text.strip() else "nothing"


if __name__ == "__main__":
    sys.exit(main())
