"""The commands as a user runs them: exit codes, one sentence for each mistake; some as fresh processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import COMMAND, run_forked, start_forked
from small_runs import MOONS, SMALL

import zoo
from zoo.cli import main


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zoo", *arguments],
        cwd=cwd, text=True, capture_output=True, env=os.environ | environment, check=False,
    )  # fmt: skip


def only_run(root: Path) -> Path:
    (record,) = root.rglob("record.json")
    return record.parent


def sentence(errors: str) -> str:
    """Return the error message of a command, which comes after its progress."""
    *progress, last = errors.strip().splitlines()
    assert last.startswith("zoo: "), errors
    assert all(" · update " in line for line in progress), errors
    return last


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["sweep", "--help"], ["compare", "--help"], ["doctor", "-h"]],
)
def test_help_and_comparison_do_not_import_torch(workdir, arguments):
    code = (
        "import sys; from zoo.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        "import zoo.comparison\n"
        "print([m for m in ('torch', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_a_run_can_be_trained_sampled_evaluated_and_compared(workdir, capsys):
    arguments = ["train", "model=realnvp", "model.width=4", *SMALL]
    done = command(*arguments, cwd=workdir)
    assert done.returncode == 0, done.stderr
    run = only_run(workdir / "runs")
    record = json.loads((run / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["run_id"] == run.name
    assert record["cost"]["updates"] == 12
    assert record["cost"]["images_seen"] == 12 * 32
    metric = record["metrics"]["bits_per_dim"]
    assert metric["kind"] == "exact"
    assert metric["details"]["dequantisation"] == "uniform"
    assert metric["n"] == 360
    assert record["metrics"]["fd/digits-cnn"]["value"] > 0
    assert {"latency_seconds", "throughput", "sequential_evaluations"} <= set(record["sampling"])
    assert record["provenance"]["config"]["training"]["updates"] == 12

    assert main(arguments) == 0
    assert json.loads((run / "record.json").read_text()) == record, "a finished run is not touched"

    model = zoo.load(run)
    assert not model.training
    torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert main(["sample", str(run), "-n", "9", "-o", "out/grid.png"]) == 0
    assert (workdir / "out/grid.png").stat().st_size > 100
    assert main(["sample", str(run), "-n", "9", "-o", "grid.npy"]) == 0
    assert np.array_equal(np.load(workdir / "grid.npy"), model.sample(9, seed=0).numpy())

    assert main(["evaluate", str(run)]) == 0
    after = json.loads((run / "record.json").read_text())["metrics"]["bits_per_dim"]
    assert after["value"] == pytest.approx(metric["value"], abs=1e-9)

    capsys.readouterr()
    assert main(["compare", "runs", "-o", "page"]) == 0
    assert "realnvp" in capsys.readouterr().out
    assert {"index.html", "table.md", "table.tex", "table.csv"} <= {
        p.name for p in (workdir / "page").iterdir()
    }


def test_mistakes_exit_with_code_2_and_one_sentence(workdir, capsys):
    (workdir / "bad.ckpt").write_bytes(b"not a checkpoint")
    for words, arguments in {
        "did you mean realnvp": ["train", "model=realnpv"],
        "did you mean training.updates": ["train", "training.update=3"],
        "did you mean quickstart": ["sweep", "quickstrat"],
        "There is no directory nowhere": ["compare", "nowhere"],
        "There is no checkpoint at nowhere": ["sample", "nowhere"],
        "damaged": ["sample", "bad.ckpt"],
        "data.path": ["train", "data=images", *SMALL],
        "nothere.csv": ["train", "data=table", "data.path=nothere.csv", *SMALL],
        "training=adversarial": ["train", "model=gan", "training=maximum_likelihood", *SMALL],
    }.items():
        assert main(arguments) == 2
        assert words in sentence(capsys.readouterr().err)


def test_a_run_that_diverges_is_recorded(workdir, capsys):
    wild = ["training.lr=1e30", "training.clip=null", "training.optimizer=sgd"]
    assert main(["train", "model=realnvp", *MOONS, *SMALL, *wild]) == 2
    assert "diverged at update" in sentence(capsys.readouterr().err)
    record = json.loads((only_run(workdir / "runs") / "record.json").read_text())
    assert record["status"] == "diverged"
    assert "update" in record["reason"]
    assert record["cost"]["updates"] >= 1


@pytest.mark.parametrize("slip", ["training.lr=0.001,oops", "model.layers=2,0"])
def test_a_slip_in_one_job_of_a_multirun_is_refused_before_any_starts(workdir, slip, capsys):
    assert main(["train", "-m", "model=realnvp", *MOONS, *SMALL, slip]) == 2
    message = sentence(capsys.readouterr().err)
    assert "No job was started" in message
    assert slip.replace(",", "=").split("=")[-1] in message
    assert not list(workdir.iterdir())


def test_a_multirun_starts_a_process_for_each_job(workdir, forked_jobs):
    done = run_forked(["train", "-m", "model=realnvp,vae", *MOONS, *SMALL], workdir)
    assert done.returncode == 0, done.stderr
    records = [json.loads(p.read_text()) for p in workdir.rglob("record.json")]
    assert {r["model"] for r in records} == {"realnvp", "vae"}
    assert all(p.parent.name == json.loads(p.read_text())["run_id"] for p in workdir.rglob("record.json"))


SWEEP = """
overrides:
  {data: moons, data.train: 500, data.val: 100, data.test: 100, logger: none, training.updates: 12,
   evaluation.samples: 40, evaluation.latency_repeats: 2, evaluation.time_limit_seconds: 0.1}
grid: {model: [realnvp, gan]}
list: [{model: pixelcnn_pp}]
"""


def test_a_sweep_continues_after_a_refusal_and_skips_ended_runs(workdir, capsys, forked_jobs):
    """PixelCNN++ models images alone, which a job knows when it has read its data."""
    (workdir / "sweeps").mkdir()
    (workdir / "sweeps/mine.yaml").write_text(SWEEP)
    assert main(["sweep", "mine", "--dry-run"]) == 0
    assert "3 jobs, 0 done, 3 left" in capsys.readouterr().out
    assert not (workdir / "runs").exists()
    assert main(["sweep", "mine"]) == 2
    records = {p: p.read_bytes() for p in workdir.rglob("record.json")}
    assert sorted(json.loads(r)["status"] for r in records.values()) == ["finished", "finished"]
    assert len(list((workdir / "runs/mine").glob("*-s0-*"))) == 2, "what was refused leaves no directory"
    assert (workdir / "runs/mine/comparison/index.html").exists()
    capsys.readouterr()
    assert main(["sweep", "mine"]) == 2
    assert "2 done, 1 left" in capsys.readouterr().out
    assert records == {p: p.read_bytes() for p in workdir.rglob("record.json")}


def test_a_killed_and_resumed_run_has_the_weights_of_an_undisturbed_one(workdir):
    """SIGKILL during training; the same command resumes, and the weights are equal bit for bit."""
    arguments = [
        "train",
        "model=glow",
        *MOONS,
        *SMALL,
        "model.hidden=[8]",
        "training.updates=80",
        "training.validations=8",
        "training.ema=0.9",
    ]
    for model_dir in ("whole", "cut"):
        (workdir / model_dir).mkdir()
    whole = run_forked(arguments, workdir / "whole")
    assert whole.returncode == 0, whole.stderr
    process = start_forked([*COMMAND, *arguments, f"hydra.run.dir={workdir}/cut/run"])
    deadline = time.monotonic() + 120
    while not list((workdir / "cut").rglob("last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list((workdir / "cut").rglob("record.json")), "it was killed too late to test anything"
    again = run_forked([*arguments, "hydra.run.dir=run"], workdir / "cut")
    assert again.returncode == 0, again.stderr
    whole, cut = only_run(workdir / "whole"), only_run(workdir / "cut")
    assert json.loads((cut / "record.json").read_text())["stability"]["resumed_at"] > 0
    for name in ("best.ckpt", "last.ckpt"):
        a, b = (torch.load(r / "checkpoints" / name, weights_only=True) for r in (whole, cut))
        assert a["state_dict"].keys() == b["state_dict"].keys()
        assert any(k.startswith("ema.") for k in a["state_dict"])
        assert all(torch.equal(a["state_dict"][k], b["state_dict"][k]) for k in a["state_dict"])
    curves = [
        [line.split(",")[0] for line in (r / "curves.csv").read_text().splitlines()] for r in (whole, cut)
    ]
    assert curves[0] == curves[1]


FOREIGN = '''
import torch, zuko


class Zuko(torch.nn.Module):
    """A zuko flow behind the contract."""

    family, likelihood = "flow", "exact"

    def __init__(self, spec, transforms, hidden):
        super().__init__()
        self.spec = spec
        self.flow = zuko.flows.MAF(spec.dim, transforms=transforms, hidden_features=hidden)

    def log_prob(self, x):
        return self.flow().log_prob(x)

    @torch.no_grad()
    def sample(self, n, temperature=1.0):
        return self.flow().sample((n,))
'''


def test_a_users_model_needs_one_yaml(workdir, monkeypatch, capsys):
    pytest.importorskip("zuko")
    (workdir / "adapter.py").write_text(FOREIGN)
    (workdir / "conf/model").mkdir(parents=True)
    (workdir / "conf/model/zuko_maf.yaml").write_text("_target_: adapter.Zuko\ntransforms: 2\nhidden: [32]\n")
    monkeypatch.setattr(sys, "path", [*sys.path])  # the working directory is added to it
    for model in ("zuko_maf", "maf"):
        assert main(["train", f"model={model}", *MOONS, *SMALL]) == 0
    capsys.readouterr()
    assert main(["compare", "runs"]) == 0
    assert {"zuko_maf", "maf"} <= set(capsys.readouterr().out.split())


def test_a_tilde_inside_an_override_is_the_home_directory(workdir, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(workdir))
    monkeypatch.setenv("ZOO_NO_DOWNLOAD", "1")
    assert main(["train", "data=mnist", "data.root=~/none", "logger=none", "hydra.run.dir=run"]) == 2
    assert f"MNIST is not at {workdir}/none/MNIST" in capsys.readouterr().err
    assert main(["sweep", "families", "model=maf", "data=mnist", "data.root=~/none", "--dry-run"]) == 0
