"""Tests of ``zoo.metrics`` over several processes."""

from __future__ import annotations

import socket

import pytest
import torch
from metric_cases import CLOSE, NAMES, measure_in_a_process, whole

RESAMPLED = {"ExtrapolatedFrechetDistance", "Precision", "Recall", "Density", "Coverage", "Sharpness"}


def test_two_processes_have_the_value_of_one():
    """The second process has no generated examples."""
    context = torch.multiprocessing.get_context("fork")
    results = context.Queue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        context.Process(target=measure_in_a_process, args=(rank, port, results), daemon=True)
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    result = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert result[0] == result[1]
    for name in NAMES:
        alone = whole(name).estimate()
        value, n, error = result[0][name]
        assert value == pytest.approx(alone.value, rel=CLOSE), name
        assert n == alone.n
        # resampled errors depend on the order of the rows
        tolerance = 0.5 if name in RESAMPLED else 1e-6
        wanted = alone.standard_error
        assert error == (None if wanted is None else pytest.approx(wanted, rel=tolerance)), name
