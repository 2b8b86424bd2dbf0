"""An offline W&B run, read back from its file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import SMALL, command, only_run


def inspect(run_file: Path, *flags: str) -> list[dict]:
    wandb = Path(sys.executable).with_name("wandb")
    done = subprocess.run(
        [str(wandb), "leet", "inspect", *flags, "--json", str(run_file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"this wandb cannot inspect a run: {done.stderr.strip()[:100]}")
    text = done.stdout.strip()
    return [json.loads(text)] if "--summary" in flags else [json.loads(line) for line in text.splitlines()]


def test_an_offline_run_holds_everything(workdir):
    overrides = [o for o in SMALL if not o.startswith("logger")]
    done = command("train", "model=vae", "data=digits", "logger=wandb", "sweep=mine", *overrides, cwd=workdir)
    assert done.returncode == 0, done.stderr
    run = only_run(workdir / "runs")
    (file,) = run.rglob("*.wandb")
    (summary,) = inspect(file, "--summary")
    assert summary["name"] == run.name
    assert summary["project"] == "zoo"
    assert summary["summary"]["status"] == "finished"
    record = json.loads((run / "record.json").read_text())
    assert summary["summary"]["bits_per_dim"] == pytest.approx(record["metrics"]["bits_per_dim"]["value"])
    text = json.dumps(inspect(file))
    for word in ("mine", "vae", "digits", "updates", "val/loss", "samples", f"{run.name}-checkpoint"):
        assert word in text, f"{word} is not in the offline run"
    assert json.loads(json.dumps(summary["config"]))["training"]["updates"] == 12
