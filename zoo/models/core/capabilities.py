"""What training, evaluation and records may use of a model, and how a model declares it.

A model declares facts as attributes (:class:`Declaration`) and offers optional methods (the protocols
below). :class:`~zoo.models.core.model.GenerativeModel` gives every optional method a default without effect;
any other ``nn.Module`` may leave out what it does not have. Other code calls :func:`declared` and
:func:`offers`, and never looks for attributes itself.

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

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeGuard, TypeVar, get_args

from torch import Tensor, nn

from zoo.errors import ZooError

Family = Literal["flow", "continuous flow", "autoregressive", "vae", "gan", "diffusion"]
Likelihood = Literal["exact", "lower bound", "estimate", "none"]
SamplingOrder = Literal["parallel", "sequential", "solver"]


class Diagnostic(NamedTuple):
    """One number that helps to understand a model and ranks nothing, such as its active units.

    Attributes:
        value: the number.
        unit: ``1`` for a plain number, ``nats``, ...
        standard_error: over the examples; None where it was not estimated.
        n: number of examples behind it; None for all that were given.
        details: settings that the value depends on; None for none.
    """

    value: float
    unit: str = "1"
    standard_error: float | None = None
    n: int | None = None
    details: dict[str, Any] | None = None


@dataclass(frozen=True)
class Declaration:
    """The facts that a model declares as attributes of the same names; the defaults hold for those left out.

    Attributes:
        family: the family that comparisons group by; ``unknown`` by default.
        likelihood: what ``log_prob`` returns: ``exact``, a ``lower bound``, an ``estimate`` or ``none``.
            None: not declared; such a model can be trained by maximum likelihood, but not evaluated.
        sampling: how a sample is drawn: all dimensions at once (``parallel``), one dimension after the other
            (``sequential``), or by an iterative ``solver``; None: not declared.
        objective: the training objective that fits the model, a name under ``conf/training/``; by default
            ``adversarial`` for a model of likelihood ``none`` and ``maximum_likelihood`` for any other.
        conditional: whether ``log_prob`` and ``sample`` take labels ``y``; by default they do not.
        keyed_noise: whether all noise of ``log_prob`` and ``sample`` comes from :mod:`zoo.models.core.rng`,
            so that an example's result does not depend on its batch; by default it may come from torch's
            global generator.
        whole_batch: whether the loss of an example depends on the rest of its batch, which then cannot be
            divided between processes or into pieces; by default it does not.
    """

    family: str = "unknown"
    likelihood: Likelihood | None = None
    sampling: SamplingOrder | None = None
    objective: str = "maximum_likelihood"
    conditional: bool = False
    keyed_noise: bool = False
    whole_batch: bool = False


class HasLogProb(Protocol):
    """A density: log p of examples ``(B, *shape)``, ``(B,)`` in nats; with ``y=`` where conditional."""

    def log_prob(self, x: Tensor) -> Tensor: ...


class HasSample(Protocol):
    """A sampler: ``n`` examples ``(n, *shape)`` in data space, ``n`` given by position."""

    def sample(self, n: int, /) -> Tensor: ...


class HasMatchingLoss(Protocol):
    """A regression objective: the loss of each example, ``(B,)``; with ``y=`` where conditional."""

    def matching_loss(self, x: Tensor) -> Tensor: ...


class Adversarial(Protocol):
    """A generator and a discriminator (here ``critic``, the word of WGAN, for all of them).

    ``generate`` draws ``n`` fakes in network space, differentiable in the generator's weights; ``to_network``
    maps data to network space; ``critic(x, context)`` gives the logits or scores of ``x`` in network space.
    """

    generator: nn.Module
    critic: nn.Module

    def generate(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor: ...

    def to_network(self, x: Tensor) -> Tensor: ...


class HasTrainingStatistics(Protocol):
    """Layers that evaluate with statistics of the whole training set, collected before each validation."""

    def on_training_statistics(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None: ...


class HasLikelihoodDetails(Protocol):
    """Settings that a reader must know beside the likelihood's kind: dequantisation, solver, ..."""

    def likelihood_details(self) -> dict[str, Any]: ...


class HasSamplingDetails(Protocol):
    """Settings that a reader must know beside the samples: sampler, steps, truncation, ..."""

    def sampling_details(self) -> dict[str, Any]: ...


class HasDiagnostics(Protocol):
    """Numbers by name that help to understand a model, from test examples ``(B, *shape)``."""

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]: ...


_P = TypeVar("_P")


def missing(model: object, protocol: type) -> list[str]:
    """Return the names of a protocol that the model does not have, attributes before methods."""
    methods = [name for name, value in vars(protocol).items() if callable(value) and name[0] != "_"]
    return [name for name in [*protocol.__annotations__, *methods] if not hasattr(model, name)]


def offers(model: object, protocol: type[_P]) -> TypeGuard[_P]:
    """Return whether the model has everything that a protocol names."""
    return not missing(model, protocol)


def declared(model: object) -> Declaration:
    """Return what a model declares, with the defaults of :class:`Declaration` for what it does not.

    Raises:
        ZooError: a declared likelihood or order of sampling that does not exist.
    """
    name = type(model).__name__
    likelihood, sampling = getattr(model, "likelihood", None), getattr(model, "sampling", None)
    for attribute, value, known in (
        ("likelihood", likelihood, get_args(Likelihood)),
        ("sampling", sampling, get_args(SamplingOrder)),
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
    )
