"""Cross-fitting puts five folds beside the fixed split, and refuses what is no such pair of studies."""

from __future__ import annotations

import statistics
from pathlib import Path

import cross_fitting
import numpy as np
import pytest
from scipy import stats

from zoo.comparison.collect import collect
from zoo.data.digits import Digits
from zoo.errors import ZooError
from zoo.record import Metric, Provenance, Record

RATES = {"good": [1.90, 1.95, 2.05, 2.00, 2.10], "bad": [1.93, 1.97, 2.10, 2.01, 2.15]}


def record(
    folder: Path, model: str, seed: int, value: float, fold: int | None = None, lr: float = 0.1
) -> None:
    """Write a run that has this value on every test image; on the fixed split, with a spread over images."""
    data = Digits(fold=fold)
    data.setup()
    n = len(data.splits["test"])
    values = np.full(n, -value * 64 * np.log(2)) + (0 if fold is not None else np.linspace(-1, 1, n))
    run = Record(f"{model}-{fold}-{seed}-{lr}", model, "flow", data.name, seed, "finished")
    error = float(values.std(ddof=1) / np.sqrt(n) / (64 * np.log(2)))
    run.metrics["bits_per_dim"] = Metric(value, "bits/dim", "exact", "lower", standard_error=error, n=n)
    run.metrics["nll"] = Metric(-float(values.mean()), "nats", "exact", "lower", n=n)
    config = {"data": {"name": "digits"} | ({} if fold is None else {"fold": fold}), "training": {"lr": lr}}
    run.provenance = Provenance(config=config, config_hash_without_seed=f"{fold}-{lr}", data=data.describe())
    run.write(folder / run.run_id)
    np.savez(folder / run.run_id / "likelihood.npz", values=values.astype(np.float32), indices=np.arange(n))


def study(folder: Path) -> None:
    for model, values in RATES.items():
        for fold, value in enumerate(values):
            record(folder, model, 10 + fold, value, fold)
        for seed in range(3):
            record(folder, model, seed, {"good": 2.0, "bad": 2.02}[model] + 0.001 * seed)


def test_the_difference_over_folds_is_the_paired_t_test_of_their_means(tmp_path):
    study(tmp_path)
    good, bad = cross_fitting.crossed(collect([tmp_path])[0])
    assert [good.model, bad.model] == ["good", "bad"]
    assert good.images == bad.images == 1797
    outcome, peer = cross_fitting.on_folds(good, bad), stats.ttest_rel(RATES["good"], RATES["bad"])
    assert outcome.p == pytest.approx(peer.pvalue)
    assert (outcome.low, outcome.high) == pytest.approx(tuple(peer.confidence_interval(0.95)))
    fixed = cross_fitting.on_fixed(good, bad)
    assert fixed.estimate == pytest.approx(-0.02, abs=1e-6)
    for fold, seed in [(None, 0), (None, 1), *((fold, 10) for fold in range(5))]:
        record(tmp_path, "noisy", seed, 1.99, fold)
    for file in tmp_path.glob("noisy-*/record.json"):
        file.write_text(file.read_text().replace('"details": {}', '"details": {"dequantisation": "uniform"}'))
    noisy, *_ = found = cross_fitting.crossed(collect([tmp_path])[0])
    assert noisy.kind == "exact†"
    assert cross_fitting.neighbours(found) == [(found[1], found[2])], "another kind is compared with none"
    text = cross_fitting.table([good, bad])
    assert f"{statistics.fmean(RATES['good']):.4f}" in text
    assert "(1,797) | 1.9000 to 2.1000 |" in text
    assert "(360, 3)" in text


def test_what_is_no_whole_set_of_folds_beside_a_fixed_split_is_refused(tmp_path):
    def refusal() -> str:
        with pytest.raises(ZooError) as error:
            cross_fitting.crossed(collect([tmp_path])[0])
        return str(error.value)

    record(tmp_path, "one", 0, 2.0)
    assert "No run is one of a fold" in refusal()
    for fold in range(4):
        record(tmp_path, "one", 0, 2.0, fold)
    assert "one lacks the folds [4]" in refusal()
    record(tmp_path, "one", 0, 2.0, 4)
    assert "one has 1 runs on the fixed split" in refusal()
    record(tmp_path, "one", 1, 2.0, lr=0.2)  # of another configuration
    assert "one has 1 runs on the fixed split" in refusal()
    record(tmp_path, "one", 1, 2.0)
    cross_fitting.crossed(collect([tmp_path])[0])
    record(tmp_path, "one", 1, 2.0, 4)
    assert "more than one run of a fold" in refusal()
