"""A normalizing flow: a base distribution seen through a bijection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from zoo.checks import above, one_of, within
from zoo.data.spec import DataSpec
from zoo.errors import Unsound
from zoo.models.bijections.base import Bijection, Chain, zeros
from zoo.models.bijections.dequantise import Dequantisation, DequantisationName, make_dequantisation
from zoo.models.bijections.elementwise import Affine, Logit
from zoo.models.core import rng
from zoo.models.core.capabilities import Family, SamplingOrder
from zoo.models.core.distributions import Base, Distribution, make_base
from zoo.models.core.model import GenerativeModel

Preprocessing = Literal["logit", "centre", "none"]


class Flow(GenerativeModel):
    """log p(x) = log p(z) + log|det dz/dx| with z = transform(x).

    On integer data, ``log_prob`` adds uniform noise first, so it is exact for the dequantised density and, on
    average over the noise, a lower bound for the integers (Theis et al. 2016, eq. 2-3). Learned noise makes
    the bound tighter and the dequantised density no longer the model's own: kind ``lower bound``. Where the
    density underflows, far away from any data, ``log_prob`` is -inf.

    Args:
        spec: the data.
        transform: data space (after dequantisation: ``[0, levels)``) to latent space.
        base: distribution of the latents: a name of :func:`~zoo.models.core.distributions.make_base`, or a
            distribution.
        latent_shape: shape of the latents, where it differs from the data's.
        conditional: condition the transform's networks, and a learned base, on the label.
        dequantisation: noise of integer data, a name of
            :func:`~zoo.models.bijections.dequantise.make_dequantisation`, or one made; without effect on
            continuous data when given by name.
    """

    family: ClassVar[Family] = "flow"
    sampling: SamplingOrder = "parallel"

    def __init__(
        self,
        spec: DataSpec,
        transform: Bijection,
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

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        log_weight = zeros(x)
        if self.dequantise is not None:
            x, log_weight = self.dequantise.weigh(x, context)
        z, log_det = self.transform(x, context)
        z = self._sound(z, "latents")  # were they infinite, the density would pass for a vanishing one
        return self._sound(self.base.log_prob(z, context) + log_det + log_weight, "log-densities", True)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        x = self.transform.invert(self.base.sample(n, temperature, context), context)
        return self._as_data(x)

    def _as_data(self, x: Tensor) -> Tensor:
        """What the inverse transform gives, in data space and inside its range."""
        x = self._sound(x, "samples")
        x = x if self.dequantise is None else self.dequantise.inverse(x)
        return x if self.spec.levels is None else x.clamp(0, self.spec.levels - 1)

    def _sound(self, values: Tensor, what: str, may_vanish: bool = False) -> Tensor:
        """In evaluation mode, never a silent NaN or infinity (training has its own check, of the loss).

        A log-density may be -inf: so far out (such as |x| = 1e20, whose square overflows float32) the density
        is below what the dtype can hold, and 0 is its nearest value. No sample is infinite.
        """
        if self.training:
            return values
        sound = values.isfinite()
        if may_vanish:
            sound |= values == -torch.inf
        if not bool(sound.all()):
            raise Unsound(
                f"The {what} of {type(self).__name__} hold NaN or infinity: its layers overflow "
                f"{values.dtype} here. Train again with a lower training.lr, or evaluate in float64."
            )
        return values

    @torch.no_grad()
    def on_training_statistics(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Let layers that evaluate with statistics of the whole training set take them.

        A training rule calls this before each validation. Nothing is read where no layer wants it; otherwise
        the training set is held in memory and passed through layer by layer, once, in evaluation mode.

        Args:
            batches: examples in data space and, for a conditional model, their labels.
        """
        if not any(getattr(m, "statistics", None) == "training set" for m in self.transform.modules()):
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


def context_size(spec: DataSpec, conditional: bool) -> int:
    """Length of the one-hot label that a flow's networks are built for; 0 without one."""
    return int(spec.classes or 0) if conditional else 0


def preprocess(spec: DataSpec, how: Preprocessing = "logit", alpha: float = 1e-6) -> Chain:
    """Pixels in ``[0, levels)`` to unbounded (``logit``) or centred (``centre``) values; else nothing.

    ``logit``: s = a + (1-2a) x/levels, then logit(s) (Dinh et al. 2017, section 4.1, with the factor 1-2a
    that every implementation uses, so that both ends stay finite). ``centre``: x/levels - 1/2 (Kingma &
    Dhariwal 2018).

    Raises:
        ZooError: another word, or a margin outside [0, 1/2), also where the data need neither; the margin 0
            where a logit needs one (noise may be 0).
    """
    one_of(get_args(Preprocessing), preprocessing=how)
    within(0, 0.5, alpha=alpha)
    if spec.levels is not None and how == "logit":
        above(0, alpha=alpha)
    if spec.levels is None or how == "none":
        return Chain([])
    if how == "centre":
        return Chain([Affine(scale=1 / spec.levels, shift=-0.5)])
    return Chain([Affine(scale=(1 - 2 * alpha) / spec.levels, shift=alpha), Logit()])
