"""The time of a job besides its training: ``zoo train`` against a bare script that trains the same model.

Both are fresh processes, in turns, on one thread. A job's wall-clock time falls into parts: ``start`` is the
interpreter, imports, Hydra's composition and the process's end; ``set_up`` is data, model and provenance;
then ``training`` with its validation, curves and checkpoint, and ``evaluation`` by the protocol, which the
script does not have. The ratio compares the rest: all of the job but its evaluation, by all of the script. It
falls towards the loop's own ratio (loop_overhead.py) as training gets longer; the added seconds stay.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import write

from zoo.data.toys import Toy

ROOT = Path(__file__).resolve().parents[1]
UPDATES, ROUNDS = (100, 1000), 3
SCRIPT = """
import time
import torch
from torch import nn
from zoo.data.spec import DataSpec
from zoo.models.realnvp import RealNVP

started = time.perf_counter()
torch.manual_seed(0)
data = torch.load("moons.pt")
model = RealNVP(DataSpec((2,)))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
ready = time.perf_counter()
for _ in range({updates}):
    x = data[torch.randint(len(data), (128,))]
    loss = -model.log_prob(x).mean() / 2
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
torch.save(model.state_dict(), "bare.pt")
print(ready - started, time.perf_counter() - ready)
"""


def timed(command: list[str], folder: Path) -> tuple[float, str]:
    """Return wall-clock seconds and output of a process.

    Raises:
        SystemExit: the process failed.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.perf_counter() - begun, done.stdout


def script(updates: int, folder: Path) -> dict[str, float]:
    """Return the parts of the bare script's time."""
    (folder / "bare.py").write_text(SCRIPT.format(updates=updates))
    total, output = timed([sys.executable, "bare.py"], folder)
    set_up, training = map(float, output.split())
    return {"total": total, "start": total - set_up - training, "set_up": set_up, "training": training}


def job(updates: int, folder: Path) -> dict[str, float]:
    """Return the parts of the job's time, from its record."""
    overrides = ["model=realnvp", "data=moons", "trainer=cpu", "logger=none", f"training.updates={updates}"]
    overrides += ["evaluation.samples=200", "evaluation.time_limit_seconds=0.1"]  # not part of the comparison
    run = folder / f"run-{time.monotonic_ns()}"
    total, _ = timed([sys.executable, "-m", "zoo", "train", *overrides, f"hydra.run.dir={run}"], folder)
    cost = json.loads((run / "record.json").read_text())["cost"]
    return {
        "total": total,
        "start": total - cost["total_seconds"],
        "set_up": cost["total_seconds"] - cost["train_seconds"] - cost["evaluation_seconds"],
        "training": cost["train_seconds"],
        "evaluation": cost["evaluation_seconds"],
    }


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = Toy("moons")
        data.setup()
        torch.save(data.splits["train"], folder / "moons.pt")
        job(10, folder)
        script(10, folder)  # once untimed: the files are then in the system's cache
        for updates in UPDATES:
            rounds = [(job(updates, folder), script(updates, folder)) for _ in range(ROUNDS)]
            parts = [
                {name: statistics.median(round_[side][name] for round_ in rounds) for name in rounds[0][side]}
                for side in range(2)
            ]
            ours, bare = parts
            without = ours["total"] - ours["evaluation"]
            row = {
                "updates": updates,
                **{f"zoo_{name}_seconds": round(value, 2) for name, value in ours.items()},
                **{f"bare_{name}_seconds": round(value, 2) for name, value in bare.items()},
                "added_seconds": round(without - bare["total"], 2),
                "ratio": round(without / bare["total"], 2),
            }
            rows.append(row)
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    print(
        write("job_overhead", rows, about="a job without its evaluation by a bare script, process by process")
    )


if __name__ == "__main__":
    main()
