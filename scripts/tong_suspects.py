"""Compute what could explain that our values of Tong et al.'s table 2 differ from the published ones.

    python scripts/tong_suspects.py

Writes suspects.json and suspects.md into results/papers/tong_table2: the denominator of the normalised path
energy, the draw of the data, the number of points, the steps of the solver, and the energy of the exact
field, which a fit without error has. The energies of our runs come from the committed records. Takes about a
minute on one core, and depends on nothing but its seed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from zoo.data.planar_pairs import PAIRS, PlanarPair
from zoo.models.core.sources import NOISE, Moons
from zoo.record import write_atomic
from zoo.reproduction import load
from zoo.reproduction.runs import find

TABLE = "tong_table2"
FOLDER = Path("results/papers") / TABLE
SEEDS = (42, 43, 44, 45, 46)
SIGMA = 0.1  # of the paths
SIZES = (128, 256, 512, 1000)


def squared_w2(x: np.ndarray, y: np.ndarray) -> float:
    """Return the squared 2-Wasserstein distance of two samples; ``len(y)`` is a multiple of ``len(x)``."""
    costs = cdist(np.repeat(x, len(y) // len(x), axis=0), y, "sqeuclidean")
    return float(costs[linear_sum_assignment(costs)].mean())


def summary(values: list[float]) -> dict[str, float]:
    """Return mean and standard deviation."""
    return {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1))}


def mixture(pair: str) -> tuple[tuple[np.ndarray, float], tuple[np.ndarray, float]]:
    """Return source and target as equal mixtures of round normals: centres ``(K, 2)``, deviation."""
    angle = np.arange(8) * np.pi / 4
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    if pair == "normal_8gaussians":
        return (np.zeros((1, 2)), 1.0), (5 * ring, 1.0)
    moons = Moons()
    centres = moons.centres.double().numpy()[::16]
    return (centres, moons.scale * NOISE), (12 * ring, 1.5)


class ExactField:
    """The velocity E[x1 - x0 | x_t] that I-CFM's regression has as its minimum, for a pair of mixtures."""

    def __init__(self, pair: str) -> None:
        (a, self.s0), (b, self.s1) = mixture(pair)
        self.start = np.repeat(a, len(b), 0)
        self.end = np.tile(b, (len(a), 1))

    def __call__(self, t: float, x: np.ndarray) -> np.ndarray:
        """Return the velocity at a time and points ``(N, 2)``."""
        variance = ((1 - t) * self.s0) ** 2 + (t * self.s1) ** 2 + SIGMA**2
        mean = (1 - t) * self.start + t * self.end
        logits = -cdist(x, mean, "sqeuclidean") / (2 * variance)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        slope = (t * self.s1**2 - (1 - t) * self.s0**2) / variance
        return weights @ (self.end - self.start - slope * mean) + slope * x

    def energy(self, x: np.ndarray, steps: int) -> np.ndarray:
        """Return the integral of the squared speed along each path, by Euler's method."""
        total = np.zeros(len(x))
        for step in range(steps):
            velocity = self(step / steps, x)
            total += np.square(velocity).sum(1) / steps
            x = x + velocity / steps
        return total


def of_pair(pair: str, runs: list[Any]) -> dict[str, Any]:
    """Return everything about one pair of distributions."""
    source, target = PAIRS[pair]
    rng = np.random.default_rng(0)

    def points(data_seed: int, split: str = "test") -> np.ndarray:
        data = PlanarPair(pair, data_seed=data_seed)
        data.read()
        return data.splits[split].double().numpy()

    normal = source(1000, np.random.default_rng(42))
    denominators = {
        "1,000 starts and the run's 1,000 test points, as zoo": summary(
            [squared_w2(source(1000, rng), points(seed)) for seed in SEEDS]
        ),
        "the same, one draw of the data for all": summary(
            [squared_w2(source(1000, rng), points(0)) for _ in SEEDS]
        ),
        "the authors' answer: 1,000 starts for all, more points of the data (here 2,000)": summary(
            [squared_w2(normal, points(seed, "train")[:2000]) for seed in SEEDS[:3]]
        ),
        "the distributions, estimated by 2,000 points of each": summary(
            [squared_w2(source(2000, rng), target(2000, rng)) for _ in range(3)]
        ),
    }
    field = ExactField(pair)
    starts = source(1000, rng)
    energies = {steps: field.energy(starts, steps) for steps in (25, 100, 400)}
    floors = {
        n: summary([squared_w2(pool[:n], pool[n:]) ** 0.5 for pool in drawn(target, n, rng)]) for n in SIZES
    }
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        model = run.record.provenance.config["model"]
        if run.record.data != pair or model.get("path", "straight") != "straight":
            continue  # another pair, or a run of the row FM, whose paths are not straight
        seed = run.record.provenance.config["data"]["data_seed"]
        kind = "data drawn by run" if seed == run.record.seed else "one draw of the data"
        name = f"{model['coupling']}, {kind}"
        metrics = run.record.metrics
        values = found.setdefault(name, {"energy": [], "npe": [], "w2": []})
        values["energy"].append(metrics["normalised_path_energy"].details["energy"])
        values["npe"].append(metrics["normalised_path_energy"].value)
        values["w2"].append(metrics["wasserstein2"].value)
    return {
        "denominators": denominators,
        "exact_field": {
            "energy_by_steps": {str(steps): float(e.mean()) for steps, e in energies.items()},
            "energy_standard_error": float(energies[100].std(ddof=1) / 1000**0.5),
        },
        "w2_of_two_real_samples_by_points": {str(n): floor for n, floor in floors.items()},
        "runs": {
            name: {key: summary(v) | {"n": len(v)} for key, v in values.items()}
            for name, values in sorted(found.items())
        },
    }


def drawn(target: Any, n: int, rng: np.random.Generator, times: int = 5) -> list[np.ndarray]:
    """Return samples of 2 n points, cut at random from larger ones as splits of a data set are."""
    return [rng.permutation(target(12_000, rng))[: 2 * n] for _ in range(times)]


def markdown(content: dict[str, Any]) -> str:
    """Return the computations as text."""
    lines = ["Computed by `python scripts/tong_suspects.py`; ± is the deviation over draws or runs.", ""]
    cells = {cell.name: cell for cell in load(TABLE).cells}
    for pair, column in (("normal_8gaussians", "N->8gaussians"), ("moons_8gaussians", "moons->8gaussians")):
        part = content[pair]
        npe, w2 = cells[f"I-CFM/{column} NPE"], cells[f"I-CFM/{column} W2"]
        lines += [f"**{column}**, published for I-CFM: NPE {npe.value} ± {npe.error}, W2 {w2.value}.", ""]
        field = part["exact_field"]
        by_steps = field["energy_by_steps"]
        runs = {name: values for name, values in part["runs"].items() if name.startswith("independent")}
        heads = ["W2² in the denominator", "W2²", "NPE of the exact field"]
        for name, values in runs.items():
            heads.append(f"NPE of {values['energy']['n']} I-CFM runs, {name.partition(', ')[2]}")
        heads.append("energy that gives the published NPE")
        lines += ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
        for name, value in part["denominators"].items():
            w = value["mean"]
            energies = [by_steps["100"], *(values["energy"]["mean"] for values in runs.values())]
            texts = [name, f"{w:.2f} ± {value['deviation']:.2f}"]
            texts += [f"{abs(energy - w) / w:.3f}" for energy in energies]
            lines.append("| " + " | ".join([*texts, f"{w * (1 + npe.value):.2f}"]) + " |")
        error = field["energy_standard_error"]
        steps = ", ".join(f"{energy:.2f} in {steps} steps" for steps, energy in by_steps.items())
        lines += [
            "",
            f"Energy of the exact field by Euler's method, 1,000 paths (± {error:.2f}): {steps}.",
            "",
        ]
        for name, values in part["runs"].items():
            lines.append(
                f"- {name}: energy {values['energy']['mean']:.2f} ± {values['energy']['deviation']:.2f}, "
                f"NPE {values['npe']['mean']:.3f} ± {values['npe']['deviation']:.3f}, "
                f"W2 {values['w2']['mean']:.3f} ± {values['w2']['deviation']:.3f} ({values['w2']['n']} runs)"
            )
        floors = ", ".join(
            f"{floor['mean']:.2f} ± {floor['deviation']:.2f} of {int(n):,} points"
            for n, floor in part["w2_of_two_real_samples_by_points"].items()
        )
        lines += ["", f"W2 of two real samples: {floors}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Compute everything and write both files."""
    torch.set_num_threads(1)
    runs, _ = find([FOLDER])
    content = {pair: of_pair(pair, runs) for pair in ("normal_8gaussians", "moons_8gaussians")}
    write_atomic(FOLDER / "suspects.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_atomic(FOLDER / "suspects.md", markdown(content))
    print(FOLDER / "suspects.md")


if __name__ == "__main__":
    main()
