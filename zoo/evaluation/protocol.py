"""The protocol: the same questions to every model, with the same data, seeds and limits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import Unsound, ZooError, unknown
from zoo.evaluation import energy, frechet
from zoo.evaluation.features import Extractor, select
from zoo.evaluation.likelihood import likelihood, placement
from zoo.evaluation.speed import Clock, sampling_speed
from zoo.models import noise
from zoo.models.base import GenerativeModel
from zoo.record import Metric

VERSION = 1  # raise it whenever the code changes what a number means
SHOWN = 64
DIAGNOSED = 1000  # test examples that a model's own diagnostics see
BOOTSTRAP_DIM = 256  # with more features the bootstrap takes minutes


@dataclass(frozen=True)
class Settings:
    """The values of ``conf/evaluation/default.yaml``, which explains them."""

    seed: int = 0
    samples: int = 1000
    likelihood_examples: int | None = None
    dequantisation_samples: int = 1
    batch_size: int = 256
    latency_repeats: int = 20
    throughput_batches: tuple[int, ...] = (16, 64, 256)
    throughput_repeats: int = 5
    time_limit_seconds: float = 5.0
    inception_weights: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from plain values; what is not named keeps its default.

        Raises:
            ZooError: a setting that does not exist, or a value out of range.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise unknown("evaluation setting", str(name), names)
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if "time_limit_seconds" in plain:
            plain["time_limit_seconds"] = float(plain["time_limit_seconds"])  # 5 and 5.0 are one protocol
        settings = cls(**plain)
        for name in ("samples", "batch_size", "dequantisation_samples"):
            if getattr(settings, name) < 1:
                raise ZooError(f"evaluation.{name} must be at least 1; got {getattr(settings, name)}.")
        if settings.likelihood_examples is not None and settings.likelihood_examples < 1:
            raise ZooError("evaluation.likelihood_examples must be at least 1, or null for all of the test.")
        return settings


@dataclass
class Evaluation:
    """What the protocol found.

    Attributes:
        metrics: by name.
        sampling: speed, see :func:`zoo.evaluation.speed.sampling_speed`.
        samples: the first 64 generated, ``(64, *shape)``, data space, on the CPU; none where they could not
            be computed.
    """

    metrics: dict[str, Metric] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    samples: Tensor = field(default_factory=lambda: torch.empty(0))


def protocol_hash(settings: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that name the protocol: its version and its settings, save machine paths."""
    values = dataclasses.asdict(Settings.of(settings)) | {"version": VERSION}
    del values["inception_weights"]
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
        clock: seconds, for the speed.

    What a model cannot compute (:class:`~zoo.errors.Unsound`: overflow, a solver that does not converge) is
    a metric without a value, with the reason; the rest is measured all the same.

    torch's global random state is left as it was.
    """
    chosen = Settings.of(settings)
    device, _ = placement(model)
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(chosen.seed)
            return _evaluate(model, splits, spec, natural, chosen, entropy, clock)
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
    clock: Clock,
) -> Evaluation:
    test = splits["test"]
    scored = _subset(test, settings.likelihood_examples, settings.seed)
    metrics = likelihood(
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
    drawn = model.sampling_details() if isinstance(model, GenerativeModel) else {}
    quality = sample_quality(
        samples,
        splits,
        spec,
        natural=natural,
        settings=settings,
        device=placement(model)[0],
        failure=failure,
    )
    for metric in quality.values():
        metric.details |= drawn
    metrics |= quality
    metrics |= diagnostics(model, _subset(scored, DIAGNOSED, settings.seed), settings.seed)
    torch.manual_seed(settings.seed)
    sampling = sampling_speed(
        model,
        latency_repeats=settings.latency_repeats,
        throughput_batches=settings.throughput_batches,
        throughput_repeats=settings.throughput_repeats,
        time_limit_seconds=settings.time_limit_seconds,
        clock=clock,
    )
    return Evaluation(metrics, sampling | drawn, samples[:SHOWN])


@torch.no_grad()
def diagnostics(model: nn.Module, x: Tensor, seed: int) -> dict[str, Metric]:
    """What a zoo model says about itself (:meth:`GenerativeModel.diagnostics`), as metrics of no rank."""
    if not isinstance(model, GenerativeModel) or len(x) == 0:
        return {}
    device, dtype = placement(model)
    try:
        with noise.keyed(noise.keys(seed, count=len(x), device=device)):
            found = model.diagnostics(x.to(device=device, dtype=dtype))
    except Unsound as error:
        return {"diagnostics": Metric(None, "1", direction="none", n=len(x), reason=str(error))}
    return {
        name: Metric(value, unit, direction="none", standard_error=error, n=len(x))
        for name, (value, unit, error) in found.items()
    }


@torch.no_grad()
def generate(model: nn.Module, n: int, spec: DataSpec, seed: int, batch_size: int = 256) -> Tensor:
    """``n`` examples on the CPU, ``(n, *spec.shape)``, drawn ``batch_size`` at a time.

    A zoo model gives ``model.sample(n, seed=seed)`` whatever the batch size; any other draws from torch's
    global generator.
    """
    device, _ = placement(model)
    parts = []
    for first in range(0, n, batch_size):
        count = min(batch_size, n - first)
        if isinstance(model, GenerativeModel):
            with noise.keyed(noise.keys(seed, count=count, first=first, device=device)):
                part = model.sample(count)
        else:
            part = model.sample(count)  # type: ignore[operator]
        if tuple(part.shape) != (count, *spec.shape):
            raise ZooError(
                f"sample({count}) must have shape {(count, *spec.shape)}; "
                f"{type(model).__name__} returned {tuple(part.shape)}."
            )
        parts.append(part.detach().cpu())
    return torch.cat(parts)


def sample_quality(
    samples: Tensor,
    splits: Mapping[str, Tensor],
    spec: DataSpec,
    *,
    natural: bool,
    settings: Settings,
    device: torch.device | str = "cpu",
    failure: str | None = None,
) -> dict[str, Metric]:
    """How far samples lie from the test split, beside how far as many real training examples do (the floor).

    Images: the Fréchet distance in the features that :func:`zoo.evaluation.features.select` chooses. Vectors:
    the energy distance. Samples that are not finite or all alike, or that could not be drawn (``failure``
    says why), have no value, but a reason.
    """
    extractor: Extractor | None = None
    if spec.is_image:
        extractor, reason = select(spec, natural, inception_weights=settings.inception_weights, device=device)
        if extractor is None:
            name = "fid" if natural else "fd"
            return {name: Metric(None, "1", n=len(samples), reason=reason)}
    key = extractor.key if extractor is not None else "energy_distance"
    unit = "1" if extractor is not None else "data units"
    metric = Metric(None, unit, n=len(samples))
    bad = int((~torch.isfinite(samples.flatten(1))).any(1).sum())
    if failure is not None:
        metric.reason = failure
    elif bad:
        metric.reason = f"{bad} of {len(samples)} samples hold values that are not finite."
    elif len(samples) > 1 and bool((samples == samples[:1]).all()):
        metric.reason = f"All {len(samples)} samples are identical."
    else:
        try:
            if extractor is not None:
                _frechet(metric, extractor, samples, splits, spec, settings)
            else:
                _energy(metric, samples, splits, settings)
        except ZooError as error:
            metric.reason = str(error)
    return {key: metric}


def _frechet(
    metric: Metric,
    extractor: Extractor,
    samples: Tensor,
    splits: Mapping[str, Tensor],
    spec: DataSpec,
    settings: Settings,
) -> None:
    metric.details = {
        "extractor": extractor.name,
        "weights_sha256": extractor.sha256,
        "dim": extractor.dim,
        "reference_n": len(splits["test"]),
        **extractor.details,
    }
    outside = int((spec.quantise(samples) != samples).flatten(1).any(1).sum())
    if outside:
        metric.details["samples_not_on_levels"] = outside
    real = _subset(splits["train"], len(samples), settings.seed)
    reference, ours, floor = (extractor(x, settings.batch_size) for x in (splits["test"], samples, real))
    value = frechet.between(ours, reference)
    if extractor.dim <= BOOTSTRAP_DIM:
        metric.standard_error = frechet.bootstrap_error(ours, reference, seed=settings.seed)
    metric.value = value
    metric.details |= _floor(lambda: frechet.between(floor, reference), len(real))


def _energy(metric: Metric, samples: Tensor, splits: Mapping[str, Tensor], settings: Settings) -> None:
    reference = _subset(splits["test"], energy.LARGEST, settings.seed)
    drawn = samples[: energy.LARGEST]
    real = _subset(splits["train"], len(drawn), settings.seed)
    metric.n = len(drawn)
    metric.details = {"reference_n": len(reference)}
    metric.value = energy.energy_distance(drawn, reference)
    metric.details |= _floor(lambda: energy.energy_distance(real, reference), len(real))


def _floor(compute: Any, n: int) -> dict[str, Any]:
    """The distance of ``n`` real training examples from the test split, or why there is none."""
    try:
        return {"floor": compute(), "floor_n": n, "floor_split": "train"}
    except ZooError as error:
        return {"floor": None, "floor_reason": str(error)}


def _subset(x: Tensor, n: int | None, seed: int) -> Tensor:
    """``n`` rows without repetition, the same for every model; all of them where there are no more."""
    if n is None or n >= len(x):
        return x
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n]]
