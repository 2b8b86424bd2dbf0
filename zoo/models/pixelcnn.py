"""PixelCNN: an autoregressive model of pixels, and its counterpart on vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.checks import whole
from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.distributions import LOG_2PI
from zoo.models.core.functional import soft_clamp, sum_event
from zoo.models.core.model import GenerativeModel
from zoo.models.networks.gated_pixelcnn import GatedPixelCNN
from zoo.models.networks.made import MADE

_LOG_STD_BOUND = 5.0


class PixelCNN(GenerativeModel):
    """log p(x) = sum_i log p(x_i | x_1 .. x_{i-1}), one sub-pixel or dimension after another.

    What gives the conditionals depends on the data (``network`` names it, also in the likelihood's details):

    * images with levels, ``gated PixelCNN``: a softmax over the levels of each sub-pixel, in the order rows,
      columns, channels (van den Oord et al. 2016, arXiv:1606.05328). An exact probability of the integers.
    * vectors with levels, ``MADE-softmax``: the same softmax from a MADE (Germain et al. 2015,
      arXiv:1502.03509); there is no image to convolve.
    * continuous values, ``MADE-MoG``: an exact density, a mixture of Gaussians for each dimension,

          p(x_i | x_<i) = sum_k softmax(w_i)_k N(x_i; m_ik, exp(2 s_ik)),

      with (w, m, s) from a MADE (as in Papamakarios et al. 2017, section 4) and s soft-clamped to (-5, 5).
      Continuous images are flattened.

    Temperature divides the logits of a softmax, and scales the standard deviations of a mixture.

    Args:
        spec: the data.
        width: features of each stack of the gated PixelCNN.
        layers: its gated layers.
        kernel: size of its kernels.
        first_kernel: size of its first kernel.
        head: features before its logits.
        hidden: widths of the MADE's hidden layers (vectors only).
        components: Gaussians for each dimension (continuous values only).
        conditional: every layer is given the label (the paper's eq. 4).
    """

    family = "autoregressive"
    sampling = "sequential"

    def __init__(
        self,
        spec: DataSpec,
        width: int = 16,
        layers: int = 5,
        kernel: int = 3,
        first_kernel: int = 7,
        head: int = 32,
        hidden: Sequence[int] = (128, 128),
        components: int = 10,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, conditional)
        whole(1, width=width, layers=layers, head=head, hidden=hidden, components=components)
        whole(3, kernel=kernel, first_kernel=first_kernel)
        self.pixels: GatedPixelCNN | None = None
        self.made: MADE | None = None
        if spec.levels is None:
            self.network = "MADE-MoG"
            self.made = MADE(spec.dim, 3 * components, hidden, self.context)
            with torch.no_grad():  # components that start alike would stay alike
                bias = self.made.output.bias.view(spec.dim, 3, components)
                bias[:, 1] = torch.linspace(-2, 2, components) if components > 1 else 0.0
        elif spec.is_image:
            self.network = "gated PixelCNN"
            channels = spec.shape[0]
            self.pixels = GatedPixelCNN(
                channels, spec.levels, width, layers, kernel, first_kernel, head, self.context
            )
        else:
            self.network = "MADE-softmax"
            self.made = MADE(spec.dim, spec.levels, hidden, self.context)

    def likelihood_details(self) -> dict[str, Any]:
        return {"network": self.network}

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.pixels is not None:
            return _softmax_log_prob(self.pixels(x, context).movedim(2, 1), x)
        assert self.made is not None
        if self.spec.levels is not None:
            return _softmax_log_prob(self.made(self._scale(x), context).movedim(2, 1), x)
        flat = x.flatten(1)
        log_weight, mean, log_std = _mixture(self.made(flat, context), dim=2)
        standard = (flat[..., None] - mean) * torch.exp(-log_std)
        return sum_event(torch.logsumexp(log_weight - log_std - 0.5 * (standard.square() + LOG_2PI), dim=2))

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        # One draw for the whole example: its numbers then do not depend on the order of the steps.
        u = rng.uniform(torch.empty(n, *self.spec.shape, dtype=self.dtype, device=self.device))
        if self.pixels is not None:
            return self.pixels.generate(
                n,
                u.shape[2],
                u.shape[3],
                lambda channel, row, column, logits: _draw(logits, u[:, channel, row, column], temperature),
                context,
            )
        assert self.made is not None
        columns = u.flatten(1).T
        if self.spec.levels is not None:

            def level(i: int, logits: Tensor) -> Tensor:
                return self._scale(_draw(logits, columns[i], temperature).to(u.dtype))

            x, _ = self.made.generate(n, level, context)
            return torch.round((x + 1) * ((self.spec.levels - 1) / 2)).view(u.shape)
        normals = rng.normal(u).flatten(1).T

        def value(i: int, parameters: Tensor) -> Tensor:
            log_weight, mean, log_std = _mixture(parameters, dim=1)
            k = _draw(log_weight, columns[i], 1.0)[:, None]
            std = torch.exp(log_std.gather(1, k)[:, 0])
            return mean.gather(1, k)[:, 0] + temperature * std * normals[i]

        return self.made.generate(n, value, context)[0].view(u.shape)

    def _scale(self, x: Tensor) -> Tensor:
        assert self.spec.levels is not None
        return x * (2 / (self.spec.levels - 1)) - 1


def _softmax_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """Log-probability ``(B,)`` of integers ``x`` ``(B, ...)`` under logits ``(B, levels, ...)``, in nats."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -sum_event(F.cross_entropy(wide, x.to(torch.int64), reduction="none"))


def _mixture(parameters: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights, means and log standard deviations from a network's output, each a third of ``dim``."""
    logits, mean, raw = parameters.chunk(3, dim)
    return logits.log_softmax(dim), mean, soft_clamp(raw, _LOG_STD_BOUND)


def _draw(logits: Tensor, u: Tensor, temperature: float) -> Tensor:
    """Indices ``(B,)`` from logits ``(B, K)`` by the inverse distribution function at ``u`` ``(B,)``."""
    if temperature == 0:
        return logits.argmax(1)
    cumulative = (
        (logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature).softmax(1).cumsum(1)
    )
    below = cumulative <= u.to(cumulative.dtype)[:, None] * cumulative[:, -1:]
    return below.sum(1).clamp(max=logits.shape[1] - 1)  # rounding may reach the total itself
