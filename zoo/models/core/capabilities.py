"""The interface between a model and training, evaluation and records: declarations and optional methods.

A model declares facts as attributes (:class:`Declaration`) and offers optional methods (the protocols
below). What other code *changes* on a model, such as ``beta``, it offers by deriving from a class
(:class:`HasWeightedKL`, :class:`HasSampleSteps`, :class:`HasTruncation`): an attribute of that name alone may
mean something else. :class:`~zoo.models.core.model.GenerativeModel` gives every optional method a default
without effect; any other ``nn.Module`` may leave them out. Other code calls :func:`declared` and
:func:`offers`, and never inspects attributes itself.

>>> class Coin(nn.Module):
...     likelihood = "exact"
...     def log_prob(self, x):
...         return x.new_full((len(x),), -0.6931)
>>> declared(Coin()).likelihood, declared(Coin()).family, declared(Coin()).sampling
('exact', 'unknown', None)
>>> offers(Coin(), HasLogProb), offers(Coin(), HasMatchingLoss)
(True, False)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeGuard, TypeVar, cast, get_args

from torch import Tensor, nn
from typing_extensions import is_protocol

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.kinds import DataKind, Kind, SamplingOrder

Family = Literal["flow", "continuous flow", "autoregressive", "vae", "gan", "diffusion"]
Likelihood = Kind


class Diagnostic(NamedTuple):
    """A number that helps to understand a model but does not rank models, such as its active units.

    Attributes:
        value: the number.
        unit: ``1`` for a plain number, ``nats``, ...
        standard_error: standard error over the examples; None if it was not estimated.
        n: number of examples behind it; None: all examples of the call.
        details: settings that the value depends on; None for none.
    """

    value: float
    unit: str = "1"
    standard_error: float | None = None
    n: int | None = None
    details: dict[str, Any] | None = None


@dataclass(frozen=True)
class Declaration:
    """The facts that a model declares, as attributes of the same names; a missing one has its default.

    Attributes:
        family: the family that comparisons group by; ``unknown`` by default.
        likelihood: what ``log_prob`` returns: ``exact``, a ``lower bound``, an ``estimate`` or ``none``.
            None: not declared; such a model can be trained by maximum likelihood, but not evaluated.
        sampling: how a sample is drawn: all dimensions at once (``parallel``), one dimension after the other
            (``sequential``), or by an iterative ``solver``; None: not declared.
        objective: the training objective that fits the model, a name under ``conf/training/``; by default
            ``adversarial`` for a model of likelihood ``none`` and ``maximum_likelihood`` for any other.
        conditional: whether ``log_prob`` and ``sample`` accept labels ``y``; by default they do not.
        keyed_noise: whether all noise of ``log_prob`` and ``sample`` comes from :mod:`zoo.models.core.rng`,
            so that an example's result does not depend on its batch; by default it may come from torch's
            global generator.
        whole_batch: whether the loss of an example depends on the rest of its batch, which then cannot be
            divided between processes or into pieces; by default it does not.
        data_kind: the kind of data that the model needs: ``binary`` (two levels), ``integer images`` or, by
            default, ``any``.
    """

    family: str = "unknown"
    likelihood: Likelihood | None = None
    sampling: SamplingOrder | None = None
    objective: str = "maximum_likelihood"
    conditional: bool = False
    keyed_noise: bool = False
    whole_batch: bool = False
    data_kind: DataKind = "any"


class HasLogProb(Protocol):
    """A density: log p of examples ``(B, *shape)``, ``(B,)`` in nats; conditional models accept ``y=``."""

    def log_prob(self, x: Tensor) -> Tensor: ...


class HasValidationLogProb(Protocol):
    """A model with a cheaper estimate or bound of ``log_prob`` for validations, ``(B,)`` in nats."""

    def validation_log_prob(self, x: Tensor) -> Tensor: ...


class HasWeightedKL:
    """Base class of latent variable models whose training weighs the KL of its bound by ``beta``."""

    beta: float


class HasPaths(Protocol):
    """A flow along an ODE whose paths have an energy.

    ``path_energy`` draws ``n`` starts from the source and returns them, ``(n, *shape)``, with the integral of
    |v|^2 over each one's path, ``(n,)``, in squared units of the data. It needs data without preprocessing.
    """

    def path_energy(self, n: int) -> tuple[Tensor, Tensor]: ...


class HasBoundParts(Protocol):
    """A latent variable model whose bound is a reconstruction minus a KL, ``(B,)`` each, in nats."""

    def bound_parts(self, x: Tensor) -> tuple[Tensor, Tensor]: ...


class HasMaximisation(Protocol):
    """A model with a step of expectation maximisation, or with the maximum itself, in closed form.

    ``statistics`` returns sums over examples ``(B, *shape)`` and their labels that determine the step; sums
    of several batches are added. ``maximise`` sets the parameters from the sums over a whole training set and
    returns the mean log-likelihood per example, in nats, under the parameters *before* the step.
    """

    def statistics(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]: ...

    def maximise(self, statistics: dict[str, Tensor]) -> Tensor: ...


class HasSample(Protocol):
    """A sampler: ``n`` examples ``(n, *shape)`` in data space, ``n`` given by position."""

    def sample(self, n: int, /) -> Tensor: ...


class HasMatchingLoss(Protocol):
    """A regression objective: the loss of each example, ``(B,)``; conditional models accept ``y=``."""

    def matching_loss(self, x: Tensor) -> Tensor: ...


class Adversarial(Protocol):
    """A generator and a discriminator, which is called ``critic`` for every GAN.

    ``generate`` draws ``n`` fakes in network space, differentiable in the generator's weights; ``to_network``
    maps data to network space; ``critic(x, context)`` gives the logits or scores of ``x`` in network space.
    Labels need :class:`HasOneHot` too, and augmented images :class:`HasSpec`.
    """

    generator: nn.Module
    critic: nn.Module

    def generate(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor: ...

    def to_network(self, x: Tensor) -> Tensor: ...


class HasSpec(Protocol):
    """A model that holds the spec of its data, which tells images from vectors."""

    spec: DataSpec


class HasUnreadSettings(Protocol):
    """A class of models whose form depends on the data, with the settings that the form does not read."""

    def unread(self, spec: DataSpec, /) -> Sequence[str]: ...


class HasOneHot(Protocol):
    """A conditional model whose networks take labels as one-hot context: ``(n,)`` to ``(n, classes)``."""

    def one_hot(self, y: Tensor, n: int, /) -> Tensor | None: ...


class HasTrainingStatistics(Protocol):
    """A model whose layers use statistics of the whole training set, collected before each validation."""

    def on_training_statistics(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None: ...


class HasLikelihoodDetails(Protocol):
    """A model whose likelihood depends on settings for the record: dequantisation, solver, ..."""

    def likelihood_details(self) -> dict[str, Any]: ...


class HasSamplingDetails(Protocol):
    """A model whose samples depend on settings for the record: sampler, steps, truncation, ..."""

    def sampling_details(self) -> dict[str, Any]: ...


class HasDiagnostics(Protocol):
    """A model with diagnostics: numbers by name, computed from test examples ``(B, *shape)``."""

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]: ...


class HasLatents(Protocol):
    """Latents of examples ``(B, *shape)``, and examples of latents: a bijection, or encoder and decoder."""

    def to_latents(self, x: Tensor) -> Tensor: ...

    def from_latents(self, z: Tensor) -> Tensor: ...


class HasSamplePath(Protocol):
    """The states of ``n`` samples on their way from noise to data, ``(frames, n, *shape)``."""

    def sample_path(self, n: int, frames: int) -> Tensor: ...


class HasSampleSteps:
    """Base class of models whose sampler's number of steps can be changed after training."""

    sample_steps: int


class HasTruncation:
    """Base class of models whose sampler's latents can be truncated after training; 1 is off."""

    truncation: float


_P = TypeVar("_P")


def missing(model: object, protocol: type) -> list[str]:
    """Return the names in a protocol that the model lacks, attributes before methods.

    For an ordinary class, return the name of the class if the model is not derived from it.
    """
    if not is_protocol(protocol):
        return [] if isinstance(model, protocol) else [protocol.__name__]
    methods = [name for name, value in vars(protocol).items() if callable(value) and name[0] != "_"]
    return [name for name in [*protocol.__annotations__, *methods] if not hasattr(model, name)]


def offers(model: object, protocol: Callable[..., _P]) -> TypeGuard[_P]:
    """Return whether the model has all attributes and methods of a protocol, or derives from a class."""
    # annotated as a callable, since mypy refuses a protocol where it expects type[_P]
    return not missing(model, cast(type, protocol))


def declared(model: object) -> Declaration:
    """Return a model's declaration, with the defaults of :class:`Declaration` for missing attributes.

    Raises:
        ZooError: the declared likelihood, order of sampling or kind of data does not exist.
    """
    name = type(model).__name__
    likelihood, sampling = getattr(model, "likelihood", None), getattr(model, "sampling", None)
    data_kind = getattr(model, "data_kind", Declaration.data_kind)
    for attribute, value, known in (
        ("likelihood", likelihood, get_args(Likelihood)),
        ("sampling", sampling, get_args(SamplingOrder)),
        ("data_kind", data_kind, get_args(DataKind)),
    ):
        if value is not None and value not in known:
            raise ZooError(f"{name}.{attribute} is {value!r}; use one of {', '.join(known)}.")
    usual = "adversarial" if likelihood == "none" else Declaration.objective
    return Declaration(
        family=str(getattr(model, "family", Declaration.family)),
        likelihood=likelihood,
        sampling=sampling,
        objective=str(getattr(model, "objective", usual)),
        conditional=bool(getattr(model, "conditional", Declaration.conditional)),
        keyed_noise=bool(getattr(model, "keyed_noise", Declaration.keyed_noise)),
        whole_batch=bool(getattr(model, "whole_batch", Declaration.whole_batch)),
        data_kind=data_kind,
    )
