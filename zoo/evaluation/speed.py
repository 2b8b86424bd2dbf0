"""How fast a model samples: latency, throughput and sequential network evaluations.

Every call is timed from start to end with the device's queue empty at both, after a call that is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from zoo.errors import Unsound, ZooError
from zoo.evaluation.likelihood import placement
from zoo.models.core.flops import count_flops
from zoo.models.core.nfe import count_nfe

Clock = Callable[[], float]


@torch.no_grad()
def sampling_speed(
    model: nn.Module,
    *,
    latency_repeats: int = 20,
    throughput_batches: Sequence[int] = (16, 64, 256),
    throughput_repeats: int = 5,
    time_limit_seconds: float = 5.0,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Measure ``model.sample``, as the ``sampling`` part of a record.

    Args:
        model: in evaluation mode, with ``sample(n)``.
        latency_repeats: timed calls of ``sample(1)``.
        throughput_batches: batch sizes tried; the fastest counts.
        throughput_repeats: timed calls at each.
        time_limit_seconds: of each of these measurements. When the first call alone takes longer it is the
            measurement, and larger batches are left out.
        clock: seconds, monotonic.

    Returns:
        ``latency_seconds`` (median at batch 1), ``latency_quartiles`` and ``latency_repeats``;
        ``throughput`` (examples/s, of the median call) at ``throughput_batch``, and
        ``throughput_by_batch``; ``sequential_evaluations`` of one ``sample(1)`` (None for a model whose
        networks do not report them) and ``sequential_evaluations_by_batch``, of the first call at each batch
        (that of an adaptive solver or a fixed point grows with it); ``device``, ``threads``, ``dtype``,
        ``compiled`` (whether a part of the model is) and ``peak_memory_bytes`` (CUDA; else None and why).
        Where a sample could not be computed (:class:`~zoo.errors.Unsound`), ``reason`` takes the place of all
        that would have been measured.
    """
    if latency_repeats < 1 or throughput_repeats < 1 or not throughput_batches or min(throughput_batches) < 1:
        raise ZooError("Speed needs at least one latency repeat, one throughput repeat and one batch size.")
    device, dtype = placement(model)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    measured: dict[str, Any]
    try:
        calls, evaluations = timed_calls(model, 1, latency_repeats, time_limit_seconds, clock, device)
        throughputs: dict[int, float] = {}
        depths: dict[int, int] = {}
        for batch in sorted(set(throughput_batches)):
            times, depths[batch] = timed_calls(
                model, batch, throughput_repeats, time_limit_seconds, clock, device
            )
            throughputs[batch] = batch / max(_quartiles(times)[1], 1e-12)
            if times[0] > time_limit_seconds:
                break
        measured = _summary(calls, throughputs, evaluations, depths)
    except Unsound as error:
        measured = {"reason": str(error)}
    return measured | {
        "device": torch.cuda.get_device_name(device) if cuda else device.type,
        "threads": torch.get_num_threads(),
        "dtype": str(dtype).removeprefix("torch."),
        "compiled": any(getattr(m, "_compiled_call_impl", None) is not None for m in model.modules()),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if cuda else None,
        **({} if cuda else {"peak_memory_reason": "torch keeps count of CUDA's memory only"}),
    }


@torch.no_grad()
def sampling_flops(
    model: nn.Module, seed: int, time_limit_seconds: float, measured: Mapping[str, Any]
) -> dict[str, Any]:
    """``flops_per_example`` of ``sample(1)``, see :func:`~zoo.models.core.flops.count_flops`, or None and
    ``flops_reason``: also where a call takes longer than the limit, since counting slows it down further."""
    if measured.get("latency_seconds", time_limit_seconds) > time_limit_seconds:
        return {"flops_per_example": None, "flops_reason": "One call takes longer than time_limit_seconds."}
    torch.manual_seed(seed)
    flops, reason = count_flops(lambda: model.sample(1))  # type: ignore[operator]
    return {"flops_per_example": flops} | ({"flops_reason": reason} if reason else {})


def _summary(
    calls: list[float], throughputs: dict[int, float], evaluations: int, depths: dict[int, int]
) -> dict[str, Any]:
    low, median, high = _quartiles(calls)
    best = max(throughputs, key=lambda size: throughputs[size])
    return {
        "latency_seconds": median,
        "latency_quartiles": [low, high],
        "latency_repeats": len(calls),
        "throughput": throughputs[best],
        "throughput_batch": best,
        "throughput_by_batch": {str(size): value for size, value in throughputs.items()},
        "sequential_evaluations": evaluations or None,
        "sequential_evaluations_by_batch": {str(size): count or None for size, count in depths.items()},
    }


def timed_calls(
    model: nn.Module, n: int, repeats: int, limit: float, clock: Clock, device: torch.device
) -> tuple[list[float], int]:
    """Seconds of each call of ``sample(n)``, and the network evaluations of the first, which warms up.

    The time limit holds for all calls together, the first included; if it was used up by that one, its time
    is returned.
    """

    def call() -> float:
        _synchronise(device)
        started = clock()
        model.sample(n)  # type: ignore[operator]
        _synchronise(device)
        return clock() - started

    with count_nfe() as counter:
        first = call()
    if first > limit:
        return [first], counter.count
    times = [call()]
    spent = first + times[0]
    while len(times) < repeats and spent < limit:
        times.append(call())
        spent += times[-1]
    return times, counter.count


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _quartiles(times: list[float]) -> tuple[float, float, float]:
    low, median, high = torch.tensor(times, dtype=torch.float64).quantile(
        torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    )
    return low.item(), median.item(), high.item()
