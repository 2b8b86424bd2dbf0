"""Every command of the README and of the first pages runs, in an empty directory, with small budgets."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets
from forks import run_forked
from known_answers import kinds
from readme_tables import families, slide

from zoo.cli import main
from zoo.comparison.watch import Server
from zoo.config import options
from zoo.data.torchvision_sets import FashionMNIST

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
START, RESULTS = ((ROOT / "docs" / name).read_text() for name in ("getting-started.md", "results.md"))
BLOCKS = re.findall(r"```bash\n(.*?)```", README + START + RESULTS, re.S)
COMMANDS = list(
    dict.fromkeys(
        re.split(r"\s+#", line)[0]
        for block in BLOCKS
        for line in block.splitlines()
        if line.startswith("zoo ")
    )
)
SMALL = ["training.updates=4", "training.batch_size=16", "training.validations=1", "logger=none"]
JUDGE = [
    "evaluation.samples=40",
    "evaluation.likelihood_examples=200",
    "evaluation.pairwise_examples=200",
    "evaluation.training_examples=200",
    "evaluation.latency_repeats=1",
    "evaluation.throughput_repeats=1",
    "evaluation.time_limit_seconds=0.1",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a directory with the files of the commands: pictures, a table, a model, a finished run."""
    from PIL import Image

    place = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    (place / "my_pictures").mkdir()
    for i in range(20):
        pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"my_pictures/{i}.png")
    np.savetxt(place / "my_table.csv", rng.normal(size=(200, 3)), delimiter=",", header="a,b,c", comments="")
    (place / "conf/model").mkdir(parents=True)
    (yaml,) = re.findall(r"```yaml\n(.*?)```", START, re.S)
    (place / "conf/model/mine.yaml").write_text(yaml)
    (place / "my_module.py").write_text(
        "from zoo.models.realnvp import RealNVP\n\n\n"
        "class MyFlow(RealNVP):\n    def __init__(self, spec, hidden):\n        super().__init__(spec)\n"
    )
    runs = {"RUN": ["model=vae"], "MY_TABLE": ["model=maf", "data=table", "data.path=my_table.csv"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, overrides in runs.items():
            assert main(["train", *overrides, *SMALL, *JUDGE, f"hydra.run.dir=runs/{name}"]) == 0
    return place


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Make a home folder with a small Fashion-MNIST in ~/data, which passes the check of the data set."""
    rng, resources = np.random.default_rng(0), []
    raw = tmp_path / "home/data/FashionMNIST/raw"
    raw.mkdir(parents=True)
    shapes = [(200, 28, 28), (200,), (50, 28, 28), (50,)]  # in the order of their files
    for (name, _), shape in zip(torchvision.datasets.FashionMNIST.resources, shapes, strict=True):
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        content = gzip.compress(header + rng.integers(0, 10, shape, dtype=np.uint8).tobytes())
        (raw / name).write_bytes(content)
        resources.append((name, hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", resources)
    monkeypatch.setattr(FashionMNIST, "val_size", 50)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_runs(line, place, home, forked_jobs, tmp_path, monkeypatch, capsys):
    arguments = shlex.split(line)[1:]
    if arguments[0] == "train":
        keys = {a.partition("=")[0] for a in arguments}
        arguments = [a for a in arguments if not a.startswith("training.updates")]
        arguments += [o for o in [*SMALL, *JUDGE] if o.partition("=")[0] not in keys or "updates" in o]
        if {"model=realnvp", "model=glow"} & {*arguments}:
            arguments.append("model.width=4")
    if arguments[0] == "sweep":
        arguments = [*arguments, "-o", str(tmp_path / "runs")]
        if "--dry-run" not in arguments:
            arguments += [*SMALL, *JUDGE, "model=vae"]
    if "-m" in arguments:  # one seed of each model, which are small
        arguments = ["seed=0" if word == "seed=0,1" else word for word in arguments]
        arguments += ["data=moons", "model.hidden=[8]"]  # both models read it for vectors
    if "-m" in arguments:  # Hydra's own main leaves traces in a process
        done = run_forked(arguments, place)
        assert done.returncode == 0, done.stderr + done.stdout
        return
    monkeypatch.chdir(place)
    if arguments[0] == "watch":  # until Ctrl-C
        (place / arguments[1]).mkdir(parents=True, exist_ok=True)
        start = Server.start

        def start_and_interrupt(server):
            start(server)
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

        monkeypatch.setattr(Server, "start", start_and_interrupt)
    assert main(arguments) == 0, capsys.readouterr()


def test_every_python_block_runs(place, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["images"].shape == (4, 1, 8, 8)
    assert names["nats"].shape == (4,)


@pytest.mark.parametrize(
    ("page", "table"),
    [(RESULTS, "readme/slide.md"), (README, "readme/families.md"), (RESULTS, "quickstart/summary.md"),
     (RESULTS, "claims/verdicts.md"), (RESULTS, "toys/kinds.md")],
    ids=lambda value: value if len(value) < 50 else "",
)  # fmt: skip
def test_a_page_holds_the_committed_table(page, table):
    assert (ROOT / "results" / table).read_text().strip() in page


def test_the_tables_of_the_readme_follow_from_committed_results():
    assert (
        families(ROOT / "results/quickstart/table.csv") == (ROOT / "results/readme/families.md").read_text()
    )
    assert slide(ROOT / "results/claims/records.tar.xz") == (ROOT / "results/readme/slide.md").read_text()


def test_the_readme_is_short():
    assert len(README.split()) < 900


def test_the_table_of_kinds_of_flows_follows_from_the_records_of_the_toys():
    assert kinds(ROOT / "results" / "toys") == (ROOT / "results" / "toys" / "kinds.md").read_text()


@pytest.mark.slow
def test_a_fresh_clone_sets_itself_up(tmp_path):
    """`make setup` in a clone, and `pip install .` gives a `zoo` with its conf/ from any directory."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    subprocess.run(["make", "setup"], cwd=clone, check=True, capture_output=True)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    uv = shutil.which("uv") or str(clone / ".venv/bin/uv")
    environment = os.environ | {"VIRTUAL_ENV": str(venv)}
    subprocess.run([uv, "pip", "install", "-q", str(clone)], check=True, env=environment)
    done = subprocess.run(
        [str(venv / "bin/zoo"), "train", "model=vae", *SMALL, *JUDGE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_model_has_a_row_on_the_page_of_models():
    page = (ROOT / "docs/models.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in rows)))
    assert named == set(options("model"))
