"""The contract that every generative model meets."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import NoLikelihood
from zoo.models import noise

Family = Literal["flow", "continuous flow", "autoregressive", "vae", "gan", "diffusion"]
Likelihood = Literal["exact", "lower bound", "estimate", "none"]


class GenerativeModel(nn.Module):
    """A distribution over examples of ``spec.shape``.

    A subclass sets :attr:`family` and :attr:`likelihood` and writes ``_sample`` and, where the family has a
    density, ``_log_prob``. Randomness in either comes from :mod:`zoo.models.noise`, whose key is set here.

    Attributes:
        family: the family that comparisons group by.
        likelihood: what ``log_prob`` returns: ``exact``, a ``lower bound``, an ``estimate`` or ``none``.
        rule: the training rule that fits the model, a name under ``conf/training/``.
    """

    family: ClassVar[Family]
    likelihood: Likelihood = "exact"
    rule: ClassVar[str] = "maximum_likelihood"

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of the weights, in which the model computes."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-likelihood of each example in data space, in nats, shape ``(B,)``.

        In evaluation mode this is a function of ``x`` alone: any noise that the model needs (dequantisation,
        trace probes, a VAE's latents) is keyed by the example's own values, so that batch size, order and
        device do not matter. In training mode the noise is fresh. A :func:`zoo.models.noise.keyed` block
        around the call decides in either mode.

        Args:
            x: ``(B, *spec.shape)``; integers ``0..levels-1`` (any dtype) where ``spec.levels`` is set.

        Raises:
            NoLikelihood: the family has no density (GAN).
            InvalidData: ``x`` has another shape, or (in evaluation mode) values outside the data's range.
        """
        if self.likelihood == "none":
            raise NoLikelihood(
                f"A {self.family} defines no likelihood; judge {type(self).__name__} by its samples."
            )
        self.spec.check(x, values=not self.training)
        x = x.to(device=self.device, dtype=self.dtype)
        if len(x) == 0:
            return x.new_zeros(0)
        if noise.is_keyed():
            return self._log_prob(x)
        keys = noise.keys(_seed(), count=len(x), device=x.device) if self.training else noise.content_keys(x)
        with noise.keyed(keys):
            return self._log_prob(x)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        *,
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
            generator: supplies the seed, and so advances by one draw.
            seed: the seed itself; with neither, torch's global generator supplies one.

        Raises:
            ValueError: both ``generator`` and ``seed`` are given, ``n`` is negative, or the temperature is.
        """
        if generator is not None and seed is not None:
            raise ValueError("Give sample() a generator or a seed, not both.")
        if n < 0 or temperature < 0:
            raise ValueError(f"sample() needs n >= 0 and temperature >= 0; got {n} and {temperature}.")
        if n == 0:
            return torch.empty(0, *self.spec.shape, dtype=self.dtype, device=self.device)
        seed = _seed(generator) if seed is None else seed
        if noise.is_keyed():
            return self._sample(n, temperature)
        with noise.keyed(noise.keys(seed, count=n, device=self.device)):
            return self._sample(n, temperature)

    def _log_prob(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _sample(self, n: int, temperature: float) -> Tensor:
        raise NotImplementedError

    def likelihood_details(self) -> dict[str, Any]:
        """What a reader must know beside the kind: dequantisation, solver and tolerance, terms, samples."""
        return {}

    def latents(self, n: int, *shape: int) -> Tensor:
        """Standard normal noise ``(n, *shape)`` on the model's device, from the active key."""
        return noise.normal(torch.empty(n, *shape, dtype=self.dtype, device=self.device))


def _seed(generator: torch.Generator | None = None) -> int:
    """A seed from a generator, wherever it lives; torch's global one by default."""
    device = generator.device if generator is not None else "cpu"
    return int(torch.randint(2**62, (), generator=generator, device=device))
