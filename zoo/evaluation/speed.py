"""The speed of sampling: latency, throughput, sequential network evaluations and operations.

Each call is timed from start to end, with an empty device queue at both. A first call warms up and is not
counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from zoo.errors import Unsound
from zoo.evaluation.device import placement
from zoo.evaluation.settings import Settings
from zoo.models.core.capabilities import HasSample, HasSamplingDetails, declared, offers
from zoo.models.core.flops import count_flops
from zoo.models.core.nfe import count_nfe
from zoo.record import Load, Sampling

Clock = Callable[[], float]


@torch.no_grad()
def sampling_speed(
    model: nn.Module, settings: Settings | None = None, *, clock: Clock = time.perf_counter
) -> Sampling:
    """Return the cost of ``model.sample``.

    Args:
        model: a model with ``sample(n)``, in evaluation mode.
        settings: the protocol's settings; used are ``latency_repeats``, ``throughput_batches``,
            ``throughput_repeats``, ``time_limit_seconds`` and ``seed``. If the first call of a measurement
            takes longer than the limit, only that call is used and larger batches are left out.
        clock: function that returns a monotonic time in seconds.

    Returns:
        The ``sampling`` section of a record. ``sequential_evaluations`` counts one ``sample(1)``; it is None
        for a model whose networks do not report evaluations. By batch, it counts the first call at each batch
        size (an adaptive solver or a fixed point needs more for larger batches). If a sample could not be
        computed (:class:`~zoo.errors.Unsound`), the measured numbers are None and ``reason`` explains it.
    """
    settings = settings or Settings()
    device, dtype = placement(model)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    speed = Sampling(
        order=declared(model).sampling,
        device=torch.cuda.get_device_name(device) if cuda else device.type,
        threads=torch.get_num_threads(),
        dtype=str(dtype).removeprefix("torch."),
        compiled=is_compiled(model),
        details=dict(model.sampling_details()) if offers(model, HasSamplingDetails) else {},
    )
    before = load_average()
    try:
        _time(speed, model, settings, clock, device)
    except Unsound as error:
        speed.reason = str(error)
    speed.load = Load(before, load_average(), os.cpu_count() or 1)
    if cuda:
        speed.peak_memory_bytes = torch.cuda.max_memory_allocated(device)
    else:
        speed.peak_memory_reason = "torch keeps count of CUDA's memory only"
    _count(speed, model, settings)
    return speed


def is_compiled(model: nn.Module) -> bool:
    """Return whether a module of the model is compiled, by ``module.compile()``."""
    # torch has no public name for this.
    return any(module._compiled_call_impl is not None for module in model.modules())


def load_average() -> float | None:
    """Return the machine's load average over the last minute; None if the system does not provide it."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _time(speed: Sampling, model: nn.Module, settings: Settings, clock: Clock, device: torch.device) -> None:
    """Set latency, throughput and evaluations; none of them if one cannot be measured."""
    limit = settings.time_limit_seconds
    calls, evaluations = timed_calls(model, 1, settings.latency_repeats, limit, clock, device)
    throughputs: dict[int, float] = {}
    depths: dict[int, int] = {}
    for batch in sorted(set(settings.throughput_batches)):
        if batch == 1:  # the calls that latency is measured by
            times, depths[batch] = calls, evaluations
        else:
            times, depths[batch] = timed_calls(
                model, batch, settings.throughput_repeats, limit, clock, device
            )
        throughputs[batch] = batch / max(quartiles(times)[1], 1e-12)
        if times[0] > limit:
            break
    low, speed.latency_seconds, high = quartiles(calls)
    speed.latency_quartiles = [low, high]
    speed.latency_repeats = len(calls)
    best = max(throughputs, key=lambda size: throughputs[size])
    speed.throughput, speed.throughput_batch = throughputs[best], best
    speed.throughput_by_batch = {str(size): value for size, value in throughputs.items()}
    speed.sequential_evaluations = evaluations or None
    speed.sequential_evaluations_by_batch = {str(size): count or None for size, count in depths.items()}


def _count(speed: Sampling, model: nn.Module, settings: Settings) -> None:
    """Set the operations of ``sample(1)``, or the reason why they were not counted."""
    limit = settings.time_limit_seconds
    if speed.latency_seconds is not None and speed.latency_seconds > limit:  # counting is even slower
        speed.flops_reason = "One call takes longer than time_limit_seconds."
        return
    torch.manual_seed(settings.seed)
    flops, reason = count_flops(lambda: cast(HasSample, model).sample(1))
    speed.flops_per_example, speed.flops_reason = flops, reason or None


def timed_calls(
    model: nn.Module, n: int, repeats: int, limit: float, clock: Clock, device: torch.device
) -> tuple[list[float], int]:
    """Return the seconds of each call of ``sample(n)``, and the network evaluations of the first call.

    The first call warms up and is not counted. The limit applies to all calls together, including the
    first; if the first call exceeds it, its time is returned.
    """

    draw = cast(HasSample, model).sample

    def call() -> float:
        _synchronise(device)
        started = clock()
        draw(n)
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


def quartiles(times: list[float]) -> tuple[float, float, float]:
    """Return the first quartile, the median and the third quartile, by linear interpolation.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 10.0])
    (2.0, 3.0, 4.0)
    """
    low, median, high = torch.tensor(times, dtype=torch.float64).quantile(
        torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    )
    return low.item(), median.item(), high.item()


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
