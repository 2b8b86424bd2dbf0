"""The base class of generative models: checks, labels and noise for ``log_prob`` and ``sample``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoo.checks import checked, is_whole
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, NoLikelihood, ZooError
from zoo.kinds import DataKind, suits
from zoo.models.core import rng
from zoo.models.core.capabilities import Diagnostic, Family, Likelihood, SamplingOrder
from zoo.models.core.precision import full_float32

_KINDS_OF_DATA = {  # in words, for messages
    "binary": "binary data, such as data=mnist_static",
    "integer images": "images of integers",
}
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class GenerativeModel(nn.Module):
    """A distribution over examples of ``spec.shape``.

    A subclass sets the attributes below and implements ``_sample`` and, if the family has a density,
    ``_log_prob``. Both draw their noise from :mod:`zoo.models.core.rng`, whose key this class sets. The
    optional methods of :mod:`zoo.models.core.capabilities` have defaults without effect.

    A *conditional* model is p(x | y) for labels y = 0 .. classes-1, all equally likely beforehand; so it also
    has a density of x alone, p(x) = 1/K sum_y p(x | y), which is used if no labels are given.

    Args:
        spec: the data.
        conditional: condition on the label.

    Attributes:
        family: the family that comparisons group by.
        likelihood: what ``log_prob`` returns: ``exact``, a ``lower bound``, an ``estimate`` or ``none``.
        sampling: how a sample is drawn: ``parallel``, ``sequential`` or by a ``solver``, see
            :class:`~zoo.models.core.capabilities.Declaration`.
        objective: the training objective that fits the model, a name under ``conf/training/``.
        keyed_noise: whether all noise comes from :mod:`zoo.models.core.rng`.
        whole_batch: whether the training loss needs its whole batch at once.
        data_kind: the kind of data that the model needs, see
            :class:`~zoo.models.core.capabilities.Declaration`.
        for_vectors: names of the settings that only the model of vectors reads.
        for_images: names of the settings that only the model of images reads.
        context: length K of the one-hot label that networks are conditioned on; 0 without labels.

    Raises:
        ZooError: the data are not of the kind that the model needs; ``conditional`` is not a truth value, or
            is true for data without labels.
    """

    family: ClassVar[Family]
    likelihood: Likelihood = "exact"
    sampling: SamplingOrder
    objective: ClassVar[str] = "maximum_likelihood"
    keyed_noise: ClassVar[bool] = True
    whole_batch: bool = False
    data_kind: ClassVar[DataKind] = "any"
    for_vectors: ClassVar[tuple[str, ...]] = ()
    for_images: ClassVar[tuple[str, ...]] = ()

    @checked("model")
    def __init__(self, spec: DataSpec, conditional: bool = False) -> None:
        super().__init__()
        if not suits(self.data_kind, spec.shape, spec.levels):
            form = "images" if spec.is_image else "vectors"
            values = "continuous values" if spec.levels is None else f"integers of {spec.levels} levels"
            raise ZooError(
                f"{type(self).__name__} needs {_KINDS_OF_DATA[self.data_kind]}, but these are {form} of "
                f"{values}; choose other data, or another model."
            )
        self.spec, self.conditional = spec, conditional
        self.context = context_size(spec, conditional)

    @classmethod
    def unread(cls, spec: DataSpec) -> tuple[str, ...]:
        """Return the names of the settings that the model of these data does not read."""
        return cls.for_vectors if spec.is_image else cls.for_images

    @property
    def dtype(self) -> torch.dtype:
        """The floating dtype of the weights, in which the model computes."""
        return _first_parameter(self).dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return _first_parameter(self).device

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the log-likelihood of each example in data space, in nats, shape ``(B,)``.

        In evaluation mode this is a function of its arguments alone: any noise that the model needs
        (dequantisation, trace probes, a VAE's latents) is keyed by the example's own values, so that batch
        size, order and device do not matter. In training mode the noise is fresh. In
        both modes a :func:`zoo.models.core.rng.keyed` block around the call takes precedence.

        Args:
            x: ``(B, *spec.shape)``; integers ``0..levels-1`` (any dtype) where ``spec.levels`` is set.
            y: labels ``(B,)`` of a conditional model, for log p(x | y). Without labels it returns log p(x),
                the mixture over all labels (:meth:`label_mixture`), at the cost of evaluating all of them.

        Raises:
            NoLikelihood: the family has no density (GAN).
            InvalidData: ``x`` or ``y`` has another shape, or (in evaluation mode) values outside its range.
            ZooError: there are labels, but the model is not conditional.
        """
        if self.likelihood == "none":
            raise NoLikelihood(f"{type(self).__name__} defines no likelihood: judge it by its samples.")
        self.spec.check(x, values=not self.training)
        like = _first_parameter(self)
        x = x.to(device=like.device, dtype=like.dtype)
        if len(x) == 0:
            return x.new_zeros(0)
        keyed: AbstractContextManager[None] = nullcontext()
        if not rng.is_keyed():
            fresh = partial(_fresh_keys, len(x), x.device)
            keyed = rng.keyed(fresh) if self.training else rng.keyed_by_content(x)
        with self._arithmetic(x.device), keyed:
            if not self.conditional or y is not None:
                return self._log_prob(x, self.one_hot(y, len(x)))
            return self.label_mixture(self._log_weight, x, unbiased=self.unbiased_weights)

    @property
    def unbiased_weights(self) -> bool:
        """Whether the exponential of :meth:`_log_weight`, averaged over its noise, is at most p(x | y).

        That holds without noise, for a density at x + u with dequantisation noise u, and for an importance
        weight. It does not hold for an ELBO or an estimate, since the exponential turns their noise into
        likelihood. By default it is assumed for an ``exact`` likelihood only.
        """
        return self.likelihood == "exact"

    def label_mixture(
        self, log_prob: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, *, unbiased: bool
    ) -> Tensor:
        """Return log p(x) of a conditional model from a function that returns log p(x | y), ``(B,)`` nats.

        With unbiased weights w_y it is log 1/K sum_y w_y, on average at most log p(x) (Burda et al. 2016).
        Otherwise the values v_y are combined by responsibilities r = softmax(v') of a second draw v' with
        independent noise, sum_y r_y (v_y - ln r_y) - ln K: at most log 1/K sum_y exp(E v_y) on average, by
        the convexity of the exponential, and equal to it where r is the posterior of the labels. The second
        draw doubles the cost.

        Args:
            log_prob: function of examples and one-hot labels ``(B, K)``.
            x: examples ``(B, *spec.shape)``.
            unbiased: see :attr:`unbiased_weights`.
        """

        def values() -> Tensor:
            draws = rng.tell()  # the same noise for every label, so that all densities are at one point
            rows = []
            for label in range(self.context):
                rng.seek(draws)
                rows.append(log_prob(x, self.one_hot(label, len(x))))
            return torch.stack(rows)

        return mixture(values(), None if unbiased else values())

    def one_hot(self, y: Tensor | int | None, n: int, values: bool | None = None) -> Tensor | None:
        """Return labels ``(n,)``, or one label for all, as one-hot context ``(n, classes)``; None for None.

        Args:
            y: the labels.
            n: number of labels.
            values: check their range; by default not in training, where a GPU would have to be waited for.

        Raises:
            InvalidData: another shape, or labels outside ``0 .. classes-1``.
            ZooError: there are labels, but the model is not conditional.
        """
        if y is None:
            return None
        if not self.conditional:
            raise ZooError(f"This {type(self).__name__} takes no labels; build it with conditional=true.")
        try:
            y = torch.as_tensor(y, device=self.device)
        except (TypeError, ValueError) as error:  # not numbers, or rows of different lengths
            raise InvalidData(f"Labels are integers of shape ({n},); got {y!r}.") from error
        if y.ndim == 0:
            y = y.expand(n)
        if tuple(y.shape) != (n,) or y.dtype not in _INTEGERS:
            raise InvalidData(f"Labels are integers of shape ({n},); got {y.dtype} of {tuple(y.shape)}.")
        values = not self.training if values is None else values
        if values and n and not (int(y.min()) >= 0 and int(y.max()) < self.context):
            raise InvalidData(f"Labels lie in 0..{self.context - 1}; got {int(y.min())} to {int(y.max())}.")
        return nn.functional.one_hot(y.long(), self.context).to(self.dtype)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        *,
        y: Tensor | int | None = None,
        generator: torch.Generator | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """Draw ``n`` examples, ``(n, *spec.shape)``, in data space and inside its range.

        Sample ``i`` depends on the seed and on ``i`` only: ``sample(8, seed=0)[:4]`` is ``sample(4, seed=0)``
        (up to the rounding of batched arithmetic).

        Args:
            n: number of examples.
            temperature: factor on the standard deviation of the latents (autoregressive models: divides the
                logits); 1 samples the model itself.
            y: labels ``(n,)`` of a conditional model, or one for all; None: each is drawn at random.
            generator: generator that the seed is drawn from (one draw).
            seed: the seed. Without ``generator`` and ``seed``, torch's global generator draws one.

        Raises:
            ValueError: both ``generator`` and ``seed`` are given.
            InvalidData: ``n`` is negative or not a whole number, the temperature is negative or not finite,
                the seed is not a whole number, or a label is outside the data's range.
        """
        if generator is not None and seed is not None:
            raise ValueError("Give sample() a generator or a seed, not both.")
        if not is_whole(n, 0):
            raise InvalidData(f"sample() draws a whole number n >= 0 of examples; got {n!r}.")
        if not (isinstance(temperature, Real) and 0 <= temperature < math.inf):
            raise InvalidData(f"sample() needs a finite temperature >= 0; got {temperature!r}.")
        if seed is not None and not is_whole(seed):
            raise InvalidData(f"A seed of sample() is a whole number; got {seed!r}.")
        if n == 0:
            return torch.empty(0, *self.spec.shape, dtype=self.dtype, device=self.device)
        seed, device = _seed(generator) if seed is None else seed, self.device
        keyed = nullcontext() if rng.is_keyed() else rng.keyed(rng.keys(seed, count=n, device=device))
        with self._arithmetic(device), keyed:
            return self._sample(n, temperature, self._labels(y, n))

    def _arithmetic(self, device: torch.device) -> AbstractContextManager[None]:
        return nullcontext() if self.training else full_float32(device)

    def _labels(self, y: Tensor | int | None, n: int) -> Tensor | None:
        """Return the context of samples for the given labels, or for labels drawn with the samples' noise."""
        if y is None and self.conditional:
            draws = rng.uniform(torch.empty(n, 1, device=self.device)).flatten()
            y = (draws * self.context).long().clamp(max=self.context - 1)
        return self.one_hot(y, n, values=True)

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def _log_weight(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x | y) for a mixture over the labels, by default as ``_log_prob`` does, ``(B,)``."""
        return self._log_prob(x, context)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def likelihood_details(self) -> dict[str, Any]:
        """Return the settings that the likelihood depends on: dequantisation, solver, terms, ..."""
        return {}

    def sampling_details(self) -> dict[str, Any]:
        """Return the settings that the samples depend on: sampler, steps, truncation, ..."""
        return {}

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """Return numbers by name that help to understand the model, from test examples ``(B, *spec.shape)``.

        The evaluation calls it in evaluation mode, without gradients and under keyed noise, and keeps the
        numbers among the record's metrics.
        """
        return {}

    def on_training_statistics(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Set the layers that evaluate with statistics of the training set; called before each validation.

        Args:
            batches: examples in data space, with their labels if the data have labels.
        """

    def latents(self, n: int, *shape: int) -> Tensor:
        """Draw standard normal noise ``(n, *shape)`` on the model's device, from the active key."""
        return rng.normal(torch.empty(n, *shape, dtype=self.dtype, device=self.device))


def _first_parameter(module: nn.Module) -> nn.Parameter:
    """Return ``next(module.parameters())``, but much faster, which matters at batch size 1."""
    todo = [module]
    while todo:
        module = todo.pop()
        for parameter in module._parameters.values():
            if parameter is not None:
                return parameter
        todo += [child for child in reversed(module._modules.values()) if child is not None]
    raise StopIteration


def mixture(values: Tensor, reference: Tensor | None = None) -> Tensor:
    """Return the log-density ``(B,)`` of K equally likely components, see ``GenerativeModel.label_mixture``.

    Args:
        values: log-densities of the components, ``(K, B)``.
        reference: the same from independent noise, for the responsibilities; None if the exponentials of the
            values are unbiased.

    >>> values = torch.tensor([[0.0], [-2.0]])
    >>> bool(torch.allclose(mixture(values), mixture(values, values)))
    True
    """
    if reference is None:
        return values.logsumexp(0) - math.log(len(values))
    log_share = reference.log_softmax(0)
    return (log_share.exp() * (values - log_share)).sum(0) - math.log(len(values))


def context_size(spec: DataSpec, conditional: bool) -> int:
    """Return the length K of the one-hot label that a model's networks are conditioned on, or 0.

    Raises:
        ZooError: ``conditional`` for data without labels.
    """
    if conditional and (spec.classes or 0) < 2:
        raise ZooError("model.conditional=true needs data with labels, such as digits, mnist or cifar10.")
    return int(spec.classes or 0) if conditional else 0


@torch.compiler.disable  # not compiled: the compiler cannot handle a seed of 64 bits
def _fresh_keys(count: int, device: torch.device) -> Tensor:
    return rng.keys(_seed(), count=count, device=device)


def _seed(generator: torch.Generator | None = None) -> int:
    """Draw a seed from a generator on any device, by default torch's global one."""
    device = generator.device if generator is not None else "cpu"
    return int(torch.randint(2**62, (), generator=generator, device=device))
