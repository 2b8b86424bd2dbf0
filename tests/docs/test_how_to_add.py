"""The pages on adding something are followed word for word: their files written, their commands run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from forks import run_forked

from zoo.comparison.archive import pack_runs
from zoo.comparison.collect import collect

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs/add").glob("*.md"))
FILE = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.S | re.M)
SHELL = re.compile(r"^```bash\n(.*?)^```$", re.S | re.M)
# Overrides that make the commands fast; no page needs them.
FAST = [
    "trainer=cpu",
    "training.validations=1",
    "training.updates=5",
    "evaluation.samples=40",
    "evaluation.likelihood_examples=100",
    "evaluation.pairwise_examples=100",
    "evaluation.training_examples=100",
    "evaluation.latency_repeats=1",
    "evaluation.throughput_repeats=1",
    "evaluation.throughput_batches=[4]",
    "evaluation.time_limit_seconds=0.1",
]


PROGRAM = """
import json, sys
from zoo.cli import main
for arguments in json.loads(sys.argv[1]):
    print("\\f")
    if code := main(arguments):
        sys.exit(code)
print("\\f")
exec(sys.argv[2])
"""


class Follower:
    """Follows a page: writes its files and runs its commands, in an empty directory or in a copy of zoo."""

    def __init__(self, page: Path, place: Path) -> None:
        self.text, self.place = page.read_text(), place
        self.files = FILE.findall(self.text)
        self.commands = [line for block in SHELL.findall(self.text) for line in block.splitlines()]
        inside = any(name.startswith("zoo/") for name, _ in self.files)
        if inside:
            for folder in ("zoo", "conf", "sweeps"):
                shutil.copytree(ROOT / folder, place / folder)  # with its compiled files
        (place / "results").mkdir()
        (place / "results/quickstart").symlink_to(ROOT / "results/quickstart")
        packed = "results/claims/records.tar.xz"
        models = {"vae", "diffusion"}  # of the page's claim, of several hundred runs
        runs = [run for run in collect([ROOT / packed])[0] if run.record.model in models]
        pack_runs(runs, place / packed)
        self.inside = inside

    def write_files(self) -> None:
        for name, content in self.files:
            path = self.place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def run(self, lines: list[str], program: str = "") -> str:
        """Run commands one after another; return what the last one prints.

        In a copy of zoo, a program runs after them in their process, since each process imports the copy.
        """
        commands = [self.arguments(line) for line in lines]
        if self.inside:  # one fresh process, which imports the copy
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, json.dumps(commands), program],
                cwd=self.place, env=os.environ | {"PYTHONPATH": str(self.place)},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
            *_, printed, self.printed_by_program = done.stdout.split("\f")
            return printed
        for line, arguments in zip(lines, commands, strict=True):
            done = run_forked(arguments, self.place)
            assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def arguments(self, line: str) -> list[str]:
        """Return the arguments of a command, with those that make it fast."""
        words = shlex.split(line)
        assert words[0] == "zoo", line
        words = [word for word in words[1:] if not word.startswith("training.updates=")]
        return words + (FAST if words[0] == "train" else [])


def test_there_is_a_page_for_each_thing_that_can_be_added():
    assert [page.stem for page in PAGES] == ["claim", "dataset", "metric", "model", "paper_table", "table"]


EXPECTED = {  # text that the last command of a page must print or write
    "model": ("mine",),
    "dataset": ("stripes", "nsf_coupling"),
    "metric": ("ink",),
    "claim": ("A VAE draws a sample faster than a diffusion model.",),
    "table": ("Memory",),
    "paper_table": ("Gaussian", "Real NVP", "others", "needs a Glow of vectors"),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_files_and_commands_of_a_page_give_the_promised_output(page, tmp_path, forked_jobs):
    reader = Follower(page, tmp_path)
    assert reader.files, "the page shows files"
    assert reader.commands, "the page shows commands"
    reader.write_files()
    printed = reader.run(reader.commands, ink(reader) if page.stem == "metric" else "")
    written = "".join(path.read_text() for path in tmp_path.glob("out/*.md"))
    for words in EXPECTED[page.stem]:
        assert words in printed + written
    if page.stem == "metric":
        assert "EnergyDistance" in reader.printed_by_program
        assert "'Ink': tensor(" in reader.printed_by_program


def ink(reader: Follower) -> str:
    """Return the program of the metric's page, and checks that its metric is part of a collection."""
    (program,) = re.findall(r"^```python\n(.*?)^```$", reader.text, re.S | re.M)
    return program + (
        "import doctest, pickle, zoo.evaluation.metrics.ink as page\n"
        "assert judge.compute()['Ink'] == judge['Ink'].estimate().value > 0\n"
        "assert pickle.loads(pickle.dumps(judge)).compute() == judge.compute()\n"
        "assert doctest.testmod(page) == (0, 5)\n"
    )


def test_a_wrong_setting_of_a_users_model_is_an_error_of_one_sentence(tmp_path):
    reader = Follower(ROOT / "docs/add/model.md", tmp_path)
    reader.write_files()
    with pytest.raises(AssertionError, match=r"model\.layers must be a whole number, at least 1; got 0\."):
        reader.run(["zoo train model=mine model.layers=0 data=moons logger=none"])
