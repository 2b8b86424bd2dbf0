"""A normalizing flow: a base distribution and a bijection from data to its latents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoo.checks import checked
from zoo.data.spec import DataSpec
from zoo.errors import Unsound, ZooError
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.dequantise import Dequantisation, make_dequantisation
from zoo.models.bijections.elementwise import Affine, Logit
from zoo.models.core import rng
from zoo.models.core.capabilities import Family, SamplingOrder
from zoo.models.core.distributions import Base, Distribution, make_base
from zoo.models.core.functional import all_finite
from zoo.models.core.model import GenerativeModel
from zoo.models.core.settings import DequantisationName, Pixels


class Flow(GenerativeModel):
    """A normalizing flow: log p(x) = log p(z) + log|det dz/dx| with z = transform(x).

    On integer data, ``log_prob`` adds uniform noise first, so it is exact for the dequantised density and, on
    average over the noise, a lower bound for the integers (Theis et al. 2016, eq. 2-3). With learned noise
    the bound is tighter; the likelihood is then declared a ``lower bound``, since it includes the density of
    the noise. If the density underflows, far away from the data, ``log_prob`` is -inf.

    A subclass with a sequential or iterative inverse sets :attr:`sampling`.

    Args:
        spec: the data.
        transform: bijection from data space (after dequantisation: ``[0, levels)``) to latent space.
        base: distribution of the latents: a name of :func:`~zoo.models.core.distributions.make_base`, or a
            distribution.
        latent_shape: shape of the latents, if it is not the shape of the data.
        conditional: condition the transform's networks, and a learned base, on the label.
        dequantisation: noise of integer data, as a name or a layer; a name has no effect on continuous data.
    """

    family: ClassVar[Family] = "flow"
    sampling: SamplingOrder = "parallel"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        transform: Bijection,
        *,
        base: Base | Distribution = "normal",
        latent_shape: tuple[int, ...] | None = None,
        conditional: bool = False,
        dequantisation: DequantisationName | Dequantisation = "uniform",
    ) -> None:
        super().__init__(spec, conditional)
        self.dequantise = (
            make_dequantisation(dequantisation, spec, self.context)
            if isinstance(dequantisation, str)
            else dequantisation
        )
        if self.dequantise is not None and self.dequantise.name != "uniform":
            self.likelihood = "lower bound"
        self.transform = transform
        self.base = (
            make_base(base, latent_shape or spec.shape, self.context) if isinstance(base, str) else base
        )

    @property
    def unbiased_weights(self) -> bool:
        return self.likelihood != "estimate"  # the density at x + u, over q(u | x) where the noise is learned

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        log_weight = None
        if self.dequantise is not None:
            x, log_weight = self.dequantise.weigh(x, context)
        z, log_det = self.transform(x, context)
        z = self._sound(z, "latents")  # else an infinite latent counts as a density of 0
        value = self.base.log_prob(z, context) + log_det
        return self._sound(value if log_weight is None else value + log_weight, "log-densities", True)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        x = self.transform.invert(self.base.sample(n, temperature, context), context)
        return self._as_data(x)

    def to_latents(self, x: Tensor) -> Tensor:
        """Return the latents of examples ``(B, *spec.shape)``; integers are taken at the centres of cells."""
        x = x.to(device=self.device, dtype=self.dtype)
        return self._sound(self.transform(x if self.spec.levels is None else x + 0.5)[0], "latents")

    def from_latents(self, z: Tensor) -> Tensor:
        """Return the examples of latents, in data space."""
        return self._as_data(self.transform.invert(z))

    def sample_path(self, n: int, frames: int) -> Tensor:
        """Return samples after each of some layers of the inverse, from the latents to the data.

        Layers that change the shape of the event are passed over; ``frames`` states are chosen evenly.
        """
        states = [self.base.sample(n)]
        for layer in reversed(list(_layers(self.transform))):
            states.append(layer.invert(states[-1]))
        states = [state for state in states if tuple(state.shape[1:]) == self.spec.shape]
        chosen = torch.linspace(0, len(states) - 1, min(frames, len(states))).round().long()
        return self._sound(torch.stack([states[i] for i in chosen.tolist()]), "samples")

    def _as_data(self, x: Tensor) -> Tensor:
        """Return the inverse transform's output as data, with integers rounded down, inside their range."""
        x = self._sound(x, "samples")
        x = x if self.dequantise is None else self.dequantise.inverse(x)
        return x if self.spec.levels is None else x.clamp(0, self.spec.levels - 1)

    def _sound(self, values: Tensor, what: str, may_vanish: bool = False) -> Tensor:
        """Return the values; in evaluation mode, raise if they hold NaN or infinity.

        Training checks its loss instead. A log-density may be -inf (``may_vanish``): far from the data, such
        as at |x| = 1e20, whose square overflows float32, the density is too small for the dtype.

        Raises:
            Unsound: some values are NaN or infinite.
        """
        if self.training:
            return values
        if not (all_finite(values) or (may_vanish and bool((values < torch.inf).all()))):
            raise Unsound(
                f"The {what} of {type(self).__name__} hold NaN or infinity: its layers overflow "
                f"{values.dtype} here. Train again with a lower training.lr, or evaluate in float64."
            )
        return values

    @torch.no_grad()
    def on_training_statistics(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Set the layers that evaluate with statistics of the whole training set (batch normalisation).

        Training calls this before each validation. If no layer needs it, no data are read. Otherwise the
        training set is held in memory and passed once through the layers, in evaluation mode.

        Args:
            batches: examples in data space and, for a conditional model, their labels.
        """
        layers = [layer for layer in self.transform.modules() if isinstance(layer, Bijection)]
        if not any(layer.needs_training_set for layer in layers):
            return
        xs, contexts = [], []
        for x, y in batches:
            x = x.to(device=self.device, dtype=self.dtype)
            if self.dequantise is not None:
                with rng.keyed(rng.content_keys(x)):
                    x = self.dequantise(x)
            xs.append(x)
            contexts.append(self.one_hot(y, len(x)) if self.conditional else None)
        mode = self.training
        self.transform.eval().collect(xs, contexts)
        self.transform.train(mode)

    def likelihood_details(self) -> dict[str, Any]:
        return {"dequantisation": self.dequantise.name} if self.dequantise is not None else {}


def preprocess(spec: DataSpec, pixels: Pixels = Pixels()) -> Chain:
    """Return the fixed map from pixels in ``[0, levels)`` to a flow's layers; empty for other data.

    ``logit``: s = a + (1-2a) x/levels, then logit(s) (Dinh et al. 2017, section 4.1, with the factor 1-2a
    that every implementation uses, so that both ends stay finite).

    Raises:
        ZooError: the margin of a logit is 0, which is infinite where the noise is 0.
    """
    if spec.levels is None or pixels.preprocessing == "none":
        return Chain([])
    if pixels.preprocessing == "centre":
        return Chain([Affine(scale=1 / spec.levels, shift=-0.5)])
    if pixels.preprocessing == "scale":
        return Chain([Affine(scale=2 / spec.levels, shift=-1.0)])
    if pixels.alpha == 0:
        raise ZooError("model.pixels.alpha must be above 0 with model.pixels.preprocessing=logit; got 0.")
    return Chain([Affine(scale=(1 - 2 * pixels.alpha) / spec.levels, shift=pixels.alpha), Logit()])


def _layers(transform: Bijection) -> Iterator[Bijection]:
    """Yield the layers of a bijection, in their order, those of nested chains one by one."""
    if isinstance(transform, Chain):
        for layer in transform.layers:
            yield from _layers(layer)
    else:
        yield transform
