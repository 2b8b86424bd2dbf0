"""The protocol: every model is judged on the same examples, with the same seeds and limits."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import Unsound, ZooError
from zoo.evaluation import flows
from zoo.evaluation.context import Context, subset
from zoo.evaluation.device import placement
from zoo.evaluation.distributed import first_goes_on, in_batches
from zoo.evaluation.energy import energy_distance
from zoo.evaluation.features import INCEPTION_FILE, LARGE, RANDOM, Extractor, enough, select
from zoo.evaluation.likelihood import score
from zoo.evaluation.metrics import measure
from zoo.evaluation.settings import Settings
from zoo.evaluation.speed import Clock, sampling_speed
from zoo.models.core import rng
from zoo.models.core.capabilities import HasDiagnostics, HasSample, HasSamplingDetails, declared, offers
from zoo.models.core.precision import full_float32
from zoo.record import PROTOCOL_VERSION, Metric, Protocol, Sampling

KEPT = 1000  # samples in a run's directory, from which other metrics can be computed later
DIAGNOSED = 1000  # test examples for a model's diagnostics
SMALL_DIM = RANDOM[
    "random-conv-16"
]  # a test split that is too small for so many features is not the reference


def extractor_for(
    settings: Settings,
    spec: DataSpec,
    natural: bool,
    splits: Mapping[str, Tensor],
    device: torch.device | str = "cpu",
) -> tuple[Extractor | None, str]:
    """Return the extractor that these settings choose, or None with the reason, see :func:`select`."""
    sizes = {name: len(x) for name, x in splits.items()}
    settings = in_effect(settings, spec, sizes)
    return select(
        spec,
        natural=natural,
        name=settings.extractor,
        reference_n=sum(sizes.get(name, 0) for name in settings.reference_splits),
        inception_weights=settings.inception_weights,
        dinov2_weights=settings.dinov2_weights,
        device=device,
    )


def stand_in(settings: Settings, spec: DataSpec, sizes: Mapping[str, int]) -> bool:
    """Return whether training images stand in for a test split of too few images as the reference.

    They do by default where half of the test split is no more images than 16 features, so that no Fréchet
    distance could be extrapolated, and there are more training and validation images than test images. The
    metrics are then named ``.../train``: a model that copies its training images is best in them.

    Args:
        settings: the protocol's; with another reference or a chosen extractor nothing is replaced.
        spec: the data.
        sizes: examples by split.
    """
    is_default = settings.reference == "test" and settings.extractor is None
    test, training = sizes.get("test", 0), sizes.get("train", 0) + sizes.get("val", 0)
    has_features = spec.is_image and spec.levels is not None
    return is_default and has_features and not enough(test, SMALL_DIM) and training > test > 0


def in_effect(settings: Settings, spec: DataSpec, sizes: Mapping[str, int]) -> Settings:
    """Return the settings with the reference that is used for this data, see :func:`stand_in`."""
    return replace(settings, reference="train") if stand_in(settings, spec, sizes) else settings


def samples_for(settings: Settings, extractor: Extractor | None) -> int:
    """Return the number of samples to draw: the setting, or else what the extractor's features need."""
    return settings.samples or (1000 if extractor is None else extractor.samples)


def announcement(
    settings: Settings, extractor: Extractor | None, natural: bool, sizes: Mapping[str, int] | None = None
) -> str | None:
    """Return a sentence about a judgement that costs more, or means less, than usual; None otherwise.

    Args:
        settings: the protocol's.
        extractor: the one that they choose; None for no features.
        natural: whether images are photographs.
        sizes: examples by split, if training images stand in for those of the test split.
    """
    if extractor is None:
        return None
    n = samples_for(settings, extractor)
    if sizes is not None:
        training = sizes.get("train", 0) + sizes.get("val", 0)
        return (
            f"The test split has {sizes.get('test', 0)} images, too few for a Fréchet distance: the features "
            f"({extractor.name}) of samples will be compared with those of the {training} training and "
            f"validation images ({extractor.key}/train and so on), in which copies of them are best "
            "(see memorisation); data.test_fraction sets the share of the test."
        )
    if extractor.dim > LARGE:
        return f"{n:,} samples will be compared in the {extractor.dim} features of {extractor.name}."
    if natural and settings.extractor is None:
        return (
            f"Samples will be compared in the features of {extractor.name}; for FID, put {INCEPTION_FILE} "
            "into $TORCH_HOME/hub/checkpoints."
        )
    return None


def shortage(
    settings: Settings, extractor: Extractor | None, sizes: Mapping[str, int], is_own: bool
) -> str | None:
    """Return a sentence if a Fréchet distance lacks examples, with what to do; None if not.

    Args:
        settings: the protocol's.
        extractor: the one that they choose; None for no features.
        sizes: examples by split.
        is_own: whether the data are a user's own, whose splits have fractions.
    """
    if extractor is None:
        return None
    dim, n = extractor.dim, samples_for(settings, extractor)
    if n <= dim:
        return f"No Fréchet distance will be computed: it needs over {dim} samples; raise evaluation.samples."
    real = sum(sizes.get(name, 0) for name in settings.reference_splits)
    if real > dim:
        return None
    training, whole = sizes.get("train", 0) + sizes.get("val", 0), sum(sizes.values())
    ways = []
    if settings.reference == "test":
        if is_own and whole - 2 > dim:
            ways.append(f"raise data.test_fraction to give the test more than {dim}")
        if training > dim:
            ways.append("compare with evaluation.reference=train")
    return (
        f"No Fréchet distance will be computed: it needs more than {dim} real examples, and the "
        f"{settings.reference} split has {real}; {', or '.join(ways) or 'give more data'}."
    )


@dataclass
class Evaluation:
    """The results of the protocol.

    Attributes:
        metrics: metrics by name.
        sampling: speed, see :func:`zoo.evaluation.speed.sampling_speed`.
        samples: the first 1,000 samples, or all, ``(n, *shape)``, in data space, on the CPU; empty if they
            could not be computed.
        likelihoods: ``values`` and ``indices``, as stored in ``likelihood.npz``; None without a likelihood.
    """

    metrics: dict[str, Metric] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    samples: Tensor = field(default_factory=lambda: torch.empty(0))
    likelihoods: dict[str, np.ndarray] | None = None


@dataclass(frozen=True)
class DataFacts:
    """What the protocol is given of the data; for the attributes see the arguments of :func:`evaluate`."""

    splits: Mapping[str, Tensor]
    spec: DataSpec
    natural: bool
    entropy: float | None
    log_density: Callable[[Tensor], Tensor] | None
    modes: tuple[Tensor, float] | None


def protocol_contents(settings: Mapping[str, Any]) -> Protocol:
    """Return the full protocol: the version of its code and its settings, without machine paths."""
    return Protocol(PROTOCOL_VERSION, Settings.of(settings).identity())


def protocol_hash(settings: Mapping[str, Any]) -> str:
    """Return the hash of the protocol's contents, twelve hexadecimal digits."""
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
    seed: int = 0,
    entropy: float | None = None,
    log_density: Callable[[Tensor], Tensor] | None = None,
    modes: tuple[Tensor, float] | None = None,
    clock: Clock = time.perf_counter,
) -> Evaluation:
    """Judge a model by its likelihood, its samples and its speed.

    Args:
        model: anything with ``log_prob(x) -> (B,)``, ``sample(n)``, ``family`` and ``likelihood``. It is
            judged in evaluation mode and handed back in the mode it came in.
        splits: ``train`` and ``test``, each ``(N, *spec.shape)`` in data space.
        spec: the data.
        natural: whether images are photographs, for which Inception's features are meaningful.
        settings: values of :class:`~zoo.evaluation.settings.Settings`.
        seed: the seed that the model was trained with. Together with ``settings.seed`` it decides the
            samples (:func:`sample_seed`), so that models of several training seeds have independent ones.
        entropy: entropy of the data's density, in nats, if it is known.
        log_density: the data's density, a function from examples to its logarithm, if it is known.
        modes: centres ``(K, D)`` and standard deviation of the data's modes, if it has modes.
        clock: function that returns the time in seconds, for the speed.

    A metric that the model cannot compute (:class:`~zoo.errors.Unsound`: overflow, a solver that does not
    converge) has a reason instead of a value; the others are still computed.

    All processes of a process group must call this function with the same model. They divide scoring and
    sampling, with the same values as a single process. Then the group ends and the first process continues
    alone, so that its timing is not disturbed; the others return an empty evaluation.

    torch's global random state is left as it was.
    """
    facts = DataFacts(splits, spec, natural, entropy, log_density, modes)
    chosen = Settings.of(settings)
    device, _ = placement(model)
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        generators = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        with generators, full_float32(device):
            torch.manual_seed(chosen.seed)
            return _evaluate(model, facts, chosen, seed, clock)
    finally:
        for module in was_training:
            module.training = True


def _evaluate(model: nn.Module, facts: DataFacts, settings: Settings, seed: int, clock: Clock) -> Evaluation:
    splits, spec = facts.splits, facts.spec
    test = splits["test"]
    scored = subset(test, settings.likelihood_examples, settings.seed)
    metrics, values = score(
        model,
        scored,
        spec,
        batch_size=settings.batch_size,
        dequantisation_samples=settings.dequantisation_samples,
        entropy=facts.entropy,
        log_density=facts.log_density,
    )
    extractor, no_extractor = extractor_for(settings, spec, facts.natural, splits, placement(model)[0])
    sizes = {name: len(x) for name, x in splits.items()}
    own_seed = sample_seed(settings.seed, seed)
    torch.manual_seed(own_seed)
    failure = None
    try:
        count = samples_for(settings, extractor)
        samples = generate(model, count, spec, own_seed, settings.batch_size, to_first=True)
    except Unsound as error:
        samples, failure = torch.empty(0, *spec.shape), str(error)
    if not first_goes_on():
        return Evaluation()
    sampling_details = dict(model.sampling_details()) if offers(model, HasSamplingDetails) else {}
    context = Context(
        samples,
        splits,
        spec,
        in_effect(settings, spec, sizes),
        extractor,
        no_extractor,
        facts.natural,
        model=model,
        failure=failure,
        sample_seed=own_seed,
        modes=facts.modes,
        stand_in=stand_in(settings, spec, sizes),
    )
    metrics |= measure(context, sampling_details)
    torch.manual_seed(settings.seed)
    numbers = diagnostics(model, subset(scored, DIAGNOSED, settings.seed), settings.seed)
    numbers |= flows.report(model, scored, settings.seed)
    metrics = numbers | metrics  # the protocol's metrics take precedence over diagnostics of the same name
    torch.manual_seed(settings.seed)
    result = Evaluation(metrics, sampling_speed(model, settings, clock=clock), samples[:KEPT])
    if values is not None:
        scored_rows = subset(torch.arange(len(test)), settings.likelihood_examples, settings.seed)
        result.likelihoods = {"values": values.float().numpy(), "indices": scored_rows.int().numpy()}
    return result


@torch.no_grad()
def diagnostics(model: nn.Module, x: Tensor, seed: int) -> dict[str, Metric]:
    """Return a model's diagnostics (:class:`HasDiagnostics`) as metrics that do not rank models.

    Args:
        model: the model, in evaluation mode.
        x: test examples, in data space.
        seed: seed of the noise.
    """
    device, dtype = placement(model)
    if not offers(model, HasDiagnostics) or len(x) == 0:
        return {}
    try:
        with rng.keyed(rng.keys(seed, count=len(x), device=device)):
            numbers = model.diagnostics(x.to(device=device, dtype=dtype))
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
        for name, (value, unit, error, n, details) in numbers.items()
    }


def sample_seed(evaluation: int, training: int) -> int:
    """Return the seed of a run's samples, a non-negative number of 62 bits.

    Runs of several training seeds need independent samples: with shared latents the samples of five seeds
    correlate by up to 0.95, and the deviation over seeds leaves out the error of their draw. ``zoo sample
    RUN --seed`` with this number gives the samples that the protocol judged.

    Args:
        evaluation: the setting ``evaluation.seed``.
        training: the seed of training.

    >>> sample_seed(0, 0) == sample_seed(0, 1)
    False
    """
    return rng.stream(evaluation, training) % 2**62


@torch.no_grad()
def generate(
    model: nn.Module, n: int, spec: DataSpec, seed: int, batch_size: int = 256, to_first: bool = False
) -> Tensor:
    """Return ``n`` samples on the CPU, ``(n, *spec.shape)``, drawn ``batch_size`` at a time.

    A model with keyed noise, as every zoo model, returns the samples of ``model.sample(n, seed=seed)`` for
    any batch size; another model draws from torch's global generator. Several processes divide the work, and
    each returns all samples; if ``to_first``, only the first does.

    Raises:
        ZooError: the samples have a wrong shape.
    """
    device, _ = placement(model)
    draw = cast(HasSample, model).sample

    def work(rows: slice) -> Tensor:
        count = rows.stop - rows.start
        if declared(model).keyed_noise:
            with rng.keyed(rng.keys(seed, count=count, first=rows.start, device=device)):
                part = draw(count)
        else:
            part = draw(count)
        if tuple(part.shape) != (count, *spec.shape):
            raise ZooError(
                f"sample({count}) must have shape {(count, *spec.shape)}; "
                f"{type(model).__name__} returned {tuple(part.shape)}."
            )
        return part.detach().cpu()

    return in_batches(model, n, batch_size, work, to_first)


def distance_to(real: Tensor, spec: DataSpec, seed: int, model: nn.Module) -> float:
    """Return the energy distance, in the data's units, between ``real`` and as many samples of the model.

    Every call uses the same latents. NaN if a sample is not finite. Several processes divide the sampling,
    and each returns the distance.
    """
    try:
        samples = generate(model, len(real), spec, seed)
    except Unsound:
        return math.nan
    return energy_distance(samples, real)[0] if bool(torch.isfinite(samples).all()) else math.nan
