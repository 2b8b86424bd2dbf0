"""Paired differences of two runs, from the values of their examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fake_records import write

from zoo.comparison.collect import FILES, Run, collect
from zoo.comparison.paired import paired
from zoo.record import LIKELIHOOD, DataDescription, Metric, read


def leave(root, model, values, indices, **settings):
    write(root, model, "flow", **settings)
    run = next(r for r in collect([root])[0] if r.record.model == model)
    np.savez_compressed(run.directory / LIKELIHOOD, values=values, indices=indices)
    return run


def test_the_mean_and_error_of_differences_over_common_examples(tmp_path):
    rng = np.random.default_rng(0)
    hard = rng.normal(-100, 30, 500)  # the difficulty of an example cancels
    a = leave(tmp_path, "realnvp", (hard + rng.normal(1, 0.5, 500)).astype(np.float32), np.arange(500))
    order = rng.permutation(500)[:300]
    b = leave(tmp_path, "glow", hard[order].astype(np.float32), order.astype(np.int32))
    difference = paired(a, b)
    with np.load(a.directory / LIKELIHOOD) as arrays:
        change = arrays["values"][order].astype(float) - hard[order].astype(np.float32)
    assert difference.n == 300
    assert difference.mean == pytest.approx(change.mean(), rel=1e-6)
    assert difference.standard_error == pytest.approx(change.std(ddof=1) / math.sqrt(300), rel=1e-6)
    assert difference.standard_error < 0.05, "unpaired, it would be above 2"
    a.record.metrics["nll"] = Metric(1.0, "nats", "exact")
    b.record.metrics["nll"] = Metric(1.0, "nats", "estimate")
    assert paired(a, b).kinds == ("exact", "estimate")
    assert paired(b, a).mean == pytest.approx(-difference.mean)
    assert LIKELIHOOD in FILES


def test_runs_without_common_examples_have_no_difference(tmp_path):
    values, indices = np.zeros(10, np.float32), np.arange(10)
    a = leave(tmp_path, "realnvp", values, indices)
    b = leave(tmp_path, "glow", values, indices)
    assert paired(a, b).mean == 0
    b.record.provenance.data = DataDescription("digits", fingerprint="another", shape=[1, 8, 8])
    assert paired(a, b) is None
    b = Run(read(b.directory), b.directory)
    for wrong in (
        {"values": values, "indices": indices + 100},
        {"values": values, "indices": np.zeros(10, int)},
        {"values": values * np.nan, "indices": indices},
        {"values": values[:5], "indices": indices},
        {"other": values},
    ):
        np.savez_compressed(b.directory / LIKELIHOOD, **wrong)
        assert paired(a, b) is None
    (b.directory / LIKELIHOOD).write_bytes(b"damaged")
    assert paired(a, b) is None
    (b.directory / LIKELIHOOD).unlink()
    assert paired(a, b) is None
