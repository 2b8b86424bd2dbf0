"""The protocol: the same questions to every model, with the same data, seeds and limits."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import Unsound, ZooError
from zoo.evaluation import flows
from zoo.evaluation.context import Context, subset
from zoo.evaluation.distributed import first_goes_on, in_batches
from zoo.evaluation.energy import energy_distance
from zoo.evaluation.features import Extractor, select
from zoo.evaluation.likelihood import placement, score
from zoo.evaluation.metrics import measure
from zoo.evaluation.settings import Settings
from zoo.evaluation.speed import Clock, sampling_flops, sampling_speed
from zoo.models.core import rng
from zoo.models.core.model import GenerativeModel
from zoo.models.core.precision import full_float32
from zoo.record import Metric, Protocol, Sampling

VERSION = 4  # raise it whenever the code changes what a number means
SHOWN = 64
DIAGNOSED = 1000  # test examples that a model's own diagnostics see


def extractor_for(
    settings: Settings, spec: DataSpec, natural: bool, device: torch.device | str = "cpu"
) -> tuple[Extractor | None, str]:
    """The extractor that these settings mean, or None with the reason: see :func:`select`, which raises."""
    return select(
        spec,
        natural,
        name=settings.extractor,
        inception_weights=settings.inception_weights,
        dinov2_weights=settings.dinov2_weights,
        device=device,
    )


@dataclass
class Evaluation:
    """What the protocol found.

    Attributes:
        metrics: by name.
        sampling: speed, see :func:`zoo.evaluation.speed.sampling_speed`.
        samples: the first 64 generated, ``(64, *shape)``, data space, on the CPU; none where they could not
            be computed.
        likelihoods: ``values`` and ``indices`` as ``likelihood.npz`` holds them; None without a likelihood.
    """

    metrics: dict[str, Metric] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    samples: Tensor = field(default_factory=lambda: torch.empty(0))
    likelihoods: dict[str, np.ndarray] | None = None


def protocol_contents(settings: Mapping[str, Any]) -> Protocol:
    """Return what judges a model in full: the version of the code, and the settings save machine paths."""
    values = Settings.of(settings).identity()
    return Protocol(VERSION, {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()})


def protocol_hash(settings: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that name the protocol: the hash of its contents."""
    contents = protocol_contents(settings)
    values = contents.settings | {"version": contents.version}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


@torch.no_grad()
def evaluate(
    model: nn.Module,
    splits: Mapping[str, Tensor],
    spec: DataSpec,
    *,
    natural: bool,
    settings: Mapping[str, Any],
    entropy: float | None = None,
    modes: tuple[Tensor, float] | None = None,
    clock: Clock = time.perf_counter,
) -> Evaluation:
    """Judge a model by its likelihood, its samples and its speed.

    Args:
        model: anything with ``log_prob(x) -> (B,)``, ``sample(n)``, ``family`` and ``likelihood``. It is
            judged in evaluation mode and handed back in the mode it came in.
        splits: ``train`` and ``test``, each ``(N, *spec.shape)`` in data space.
        spec: the data.
        natural: whether images are photographs, so that Inception's features mean something.
        settings: see ``conf/evaluation/default.yaml``.
        entropy: of the data's density, in nats, where it is known.
        modes: centres ``(K, D)`` and standard deviation of the data's modes, where it has such.
        clock: seconds, for the speed.

    What a model cannot compute (:class:`~zoo.errors.Unsound`: overflow, a solver that does not converge) is
    a metric without a value, with the reason; the rest is measured all the same.

    Several processes of one process group all call it with the same model. They share the examples that are
    scored and the samples that are drawn, with the values of one process; then the group ends, and the first
    process goes on alone, so that no other disturbs its timing. The others get an empty evaluation.

    torch's global random state is left as it was.
    """
    chosen = Settings.of(settings)
    device, _ = placement(model)
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        generators = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        with generators, full_float32(device):
            torch.manual_seed(chosen.seed)
            return _evaluate(model, splits, spec, natural, chosen, entropy, modes, clock)
    finally:
        for module in was_training:
            module.training = True


def _evaluate(
    model: nn.Module,
    splits: Mapping[str, Tensor],
    spec: DataSpec,
    natural: bool,
    settings: Settings,
    entropy: float | None,
    modes: tuple[Tensor, float] | None,
    clock: Clock,
) -> Evaluation:
    test = splits["test"]
    scored = subset(test, settings.likelihood_examples, settings.seed)
    metrics, values = score(
        model,
        scored,
        spec,
        batch_size=settings.batch_size,
        dequantisation_samples=settings.dequantisation_samples,
        entropy=entropy,
    )
    torch.manual_seed(settings.seed)
    failure = None
    try:
        samples = generate(model, settings.samples, spec, settings.seed, settings.batch_size)
    except Unsound as error:
        samples, failure = torch.empty(0, *spec.shape), str(error)
    if not first_goes_on():
        return Evaluation()
    drawn = model.sampling_details() if isinstance(model, GenerativeModel) else {}
    extractor, no_extractor = extractor_for(settings, spec, natural, placement(model)[0])
    context = Context(
        samples,
        splits,
        spec,
        settings,
        extractor,
        no_extractor,
        natural,
        model=model,
        failure=failure,
        modes=modes,
    )
    metrics |= measure(context, drawn)
    said = diagnostics(model, subset(scored, DIAGNOSED, settings.seed), settings.seed)
    said |= flows.report(model, scored, settings.seed)
    metrics = said | metrics  # what is measured stands, whatever a model calls its own
    torch.manual_seed(settings.seed)
    sampling = sampling_speed(
        model,
        latency_repeats=settings.latency_repeats,
        throughput_batches=settings.throughput_batches,
        throughput_repeats=settings.throughput_repeats,
        time_limit_seconds=settings.time_limit_seconds,
        clock=clock,
    )
    sampling |= sampling_flops(model, settings.seed, settings.time_limit_seconds, sampling)
    result = Evaluation(metrics, Sampling(**sampling, details=drawn), samples[:SHOWN])
    if values is not None:
        scored_rows = subset(torch.arange(len(test)), settings.likelihood_examples, settings.seed)
        result.likelihoods = {"values": values.float().numpy(), "indices": scored_rows.int().numpy()}
    return result


@torch.no_grad()
def diagnostics(model: nn.Module, x: Tensor, seed: int) -> dict[str, Metric]:
    """What a zoo model says about itself (:meth:`GenerativeModel.diagnostics`), as metrics of no rank."""
    if not isinstance(model, GenerativeModel) or len(x) == 0:
        return {}
    device, dtype = placement(model)
    try:
        with rng.keyed(rng.keys(seed, count=len(x), device=device)):
            found = model.diagnostics(x.to(device=device, dtype=dtype))
    except Unsound as error:
        return {"diagnostics": Metric(None, "1", direction="none", n=len(x), reason=str(error))}
    return {
        name: Metric(
            value,
            unit,
            direction="none",
            standard_error=error,
            n=len(x) if n is None else n,
            details=details or {},
        )
        for name, (value, unit, error, n, details) in found.items()
    }


@torch.no_grad()
def generate(model: nn.Module, n: int, spec: DataSpec, seed: int, batch_size: int = 256) -> Tensor:
    """``n`` examples on the CPU, ``(n, *spec.shape)``, drawn ``batch_size`` at a time.

    A zoo model gives ``model.sample(n, seed=seed)`` whatever the batch size; any other draws from torch's
    global generator. Several processes share the samples out, and each has them all.
    """
    device, _ = placement(model)

    def work(rows: slice) -> Tensor:
        count = rows.stop - rows.start
        if isinstance(model, GenerativeModel):
            with rng.keyed(rng.keys(seed, count=count, first=rows.start, device=device)):
                part = model.sample(count)
        else:
            part = model.sample(count)  # type: ignore[operator]
        if tuple(part.shape) != (count, *spec.shape):
            raise ZooError(
                f"sample({count}) must have shape {(count, *spec.shape)}; "
                f"{type(model).__name__} returned {tuple(part.shape)}."
            )
        return part.detach().cpu()

    return in_batches(model, n, batch_size, work)


def distance_to(real: Tensor, spec: DataSpec, seed: int, model: nn.Module) -> float:
    """Energy distance, in the data's units, of ``real`` and as many samples: the same latents at each call.

    NaN where a sample is not finite. Several processes share the samples out; each has the same distance.
    """
    try:
        samples = generate(model, len(real), spec, seed)
    except Unsound:  # a flow says so itself
        return math.nan
    return energy_distance(samples, real)[0] if bool(torch.isfinite(samples).all()) else math.nan
