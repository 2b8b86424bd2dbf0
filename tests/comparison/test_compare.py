"""The comparison: kinds, ranks, seeds, failures, and pages that fetch nothing."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from zoo.comparison import compare
from zoo.comparison.table import number
from zoo.errors import ZooError
from zoo.record import Metric, Record


def write(
    root, model, family, kind="exact", value=1.5, seed=0, status="finished", fd=3.0, details=None, key=""
):
    record = Record(
        run_id=f"{model}-s{seed}-{key}",
        model=model,
        family=family,
        data="digits",
        seed=seed,
        status=status,
        reason=None if status == "finished" else "Training diverged at update 3: train/loss is nan.",
        provenance={"config_hash_without_seed": f"{model}{key}", "protocol_hash": "p"},
    )
    if status == "finished":
        reason = "A gan defines no likelihood; judge GAN by its samples." if value is None else None
        record.metrics = {
            "bits_per_dim": Metric(
                value, "bits/dim", kind, standard_error=0.012, n=360, details=details or {}, reason=reason
            ),
            "fd/digits-cnn": Metric(fd, "1", n=1000, details={"floor": 0.5}),
        }
        record.sampling = {"latency_seconds": 0.004, "throughput": 1000.0, "sequential_evaluations": 8}
        record.cost = {"parameters": 125088, "updates": 1000, "images_seen": 128000, "train_seconds": 20.0}
    directory = root / record.run_id
    record.write(directory)
    (directory / "curves.csv").write_text(
        "updates,images_seen,wall_seconds,device_seconds,train/loss,val/loss,val/bits_per_dim\n"
        "50,6400,1,1,1.9,1.8,2.6\n100,12800,2,2,1.5,1.4,2.0\n"
    )
    rng = np.random.default_rng(seed)
    samples, real = rng.integers(0, 17, (2, 20, 1, 8, 8), dtype=np.uint8)
    np.savez(directory / "samples.npz", samples=samples, real=real, levels=17)
    return record


@pytest.fixture
def runs(tmp_path):
    root = tmp_path / "runs"
    uniform = {"dequantisation": "uniform"}
    write(root, "realnvp", "flow", value=1.9, details=uniform)
    write(root, "glow", "flow", value=1.8, details=uniform)
    write(root, "pixelcnn", "autoregressive", value=1.4)
    write(root, "vae", "vae", "lower bound", value=1.2)
    write(root, "ffjord", "continuous flow", "estimate", value=1.1)
    write(root, "gan", "gan", "none", value=None, fd=1.0)
    return root


def show(paths, out=None, **settings):
    console = Console(file=io.StringIO(), width=220)
    compare(paths, out, console=console, **settings)
    return console.file.getvalue()


def line(text, model):
    return next(row for row in text.splitlines() if re.search(rf"\b{model}\b", row))


def test_marks_and_ranks_within_a_kind(runs, tmp_path):
    text = show([runs], tmp_path / "out")
    assert "1.900 ± 0.012†" in line(text, "realnvp")
    assert "≤ 1.200" in line(text, "vae")
    assert "≈ 1.100" in line(text, "ffjord")
    assert "A gan defines no likelihood" in text
    assert "exact for the dequantised density" in text
    table = (tmp_path / "out/table.md").read_text()
    assert "**1.800 ± 0.012†**" in line(table, "glow")
    assert "**" not in line(table, "pixelcnn").split("|")[3], "alone of its kind: there is nobody to beat"
    assert "**≤" not in table
    assert "| **1** |" in line(table, "gan"), "samples are judged alike, whatever the family"
    assert "real data (floor)" in table


def test_seeds_become_one_row(tmp_path):
    for seed, value in enumerate((1.0, 1.2, 1.4)):
        write(tmp_path, "maf", "flow", value=value, seed=seed)
    text = show([tmp_path])
    assert "1.20 ± 0.20 [3]" in line(text, "maf")
    assert "standard deviation" in text


def test_failures_are_rows(runs):
    write(runs, "maf", "flow", status="diverged")
    text = show([runs])
    assert "diverged" in line(text, "maf")
    assert "train/loss is nan" in text


def test_protocols_never_share_a_table(runs):
    other = write(runs, "maf", "flow")
    other.provenance["protocol_hash"] = "another"
    other.write(runs / other.run_id)
    text = show([runs])
    assert "protocol p" in text
    assert "protocol another" in text


def test_damaged_record_is_a_warning(runs):
    (runs / "broken").mkdir()
    (runs / "broken/record.json").write_text("{")
    assert "warning" in show([runs])


def test_nothing_to_compare(tmp_path):
    with pytest.raises(ZooError, match="no directory"):
        show([tmp_path / "nowhere"])
    with pytest.raises(ZooError, match="no readable record"):
        show([tmp_path])


def test_files(runs, tmp_path):
    write(runs, "<script>alert(1)</script>_&%", "flow")
    out = tmp_path / "out"
    show([runs], out)
    page = (out / "index.html").read_text()
    assert "<script>alert" not in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert page.count("data:image/png;base64") == 3
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert float(next(r for r in rows if r["model"] == "vae" and r["column"] == "bits/dim")["value"]) == 1.2
    tex = (out / "table.tex").read_text()
    assert r"\_\&\%" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1
    for name in ("samples.png", "curves.svg", "speed_vs_quality.png"):
        assert (out / name).stat().st_size > 1000


def test_unchanged_inputs_are_not_drawn_again_and_an_archive_stands_alone(runs, tmp_path):
    out = tmp_path / "out"
    text = show([runs], out, archive=True)
    before = (out / "index.html").stat().st_mtime_ns
    show([runs], out)
    assert (out / "index.html").stat().st_mtime_ns == before
    write(runs, "maf", "flow")
    show([runs], out)
    assert (out / "index.html").stat().st_mtime_ns != before
    again = show([out / "records"])
    assert again == text.partition("page:")[0]


def test_numbers():
    assert number(0.0004) == "0.0004"
    assert number(-17.73) == "-17.73"
    assert number(1.23456, 0.012) == "1.235 ± 0.012"
    assert number(float("nan")) == "not finite"
    assert number(0.0) == "0"


def test_no_torch(runs):
    command = f"from zoo.cli import main; main(['compare', {str(runs)!r}])"
    code = f"import sys; {command}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
