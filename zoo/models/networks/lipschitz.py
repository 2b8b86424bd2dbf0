"""Networks whose Lipschitz constant is bounded by spectral normalisation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models import noise
from zoo.models.networks.evaluations import tick

BLOCK = 8  # vectors iterated together in evaluation: close singular values then cost no extra iterations
MOST_ITERATIONS = 1000


class SpectralNorm(nn.Module):
    """A linear map kept at spectral norm at most ``coefficient``: W -> W / max(1, sigma(W) / coefficient).

    sigma belongs to the map itself: for a convolution, to the convolution at its input's size, zero padding
    included, not to its kernel reshaped (Gouk et al. 2018, arXiv:1804.04368; Behrmann et al. 2019, section
    2.1). A map that is already below the bound stays as it is.

    In training, a few warm-started power iterations precede every use, and the gradient counts that sigma
    depends on W. Such a sigma is too small by an unknown amount, so evaluation does not use it: there sigma
    is an upper bound, found to ``tolerance`` by :meth:`upper_bound`. It depends on W alone (a reloaded model
    gives the same numbers) and leaves the training vectors be (evaluating does not change training).

    Args:
        layer: ``nn.Linear`` or ``nn.Conv2d`` (stride 1, zero padding that keeps the size).
        shape: event shape of the input.
        coefficient: bound on the norm, below 1.
        iterations: power iterations before each use in training.
        tolerance: relative width of the interval for sigma^2, in evaluation.
    """

    right: Tensor

    def __init__(
        self,
        layer: nn.Linear | nn.Conv2d,
        shape: tuple[int, ...],
        coefficient: float = 0.9,
        iterations: int = 2,
        tolerance: float = 1e-3,
    ) -> None:
        super().__init__()
        self.layer, self.shape, self.coefficient = layer, tuple(shape), coefficient
        self.iterations, self.tolerance = iterations, tolerance
        self.register_buffer("right", _unit(torch.randn(1, *shape)))
        self._known: tuple[tuple[int, int], Tensor] | None = None
        self._iterate(10)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.layer.weight
        if self.training:
            if torch.is_grad_enabled():
                self._iterate(self.iterations)
            # the gradient of |W v| at fixed v is u v^T, as that of sigma; a copy of v, since the next
            # forward overwrites v, perhaps before this one's backward
            sigma = self._map(self.right.clone(), weight).norm()
        else:
            sigma = self._converged()
        factor = self.coefficient / sigma.clamp(min=self.coefficient)
        return self._map(x, weight * factor, self.layer.bias)

    def train(self, mode: bool = True) -> SpectralNorm:
        self._known = None  # also after a change through .data, which no version counter sees
        return super().train(mode)

    @torch.no_grad()
    def upper_bound(self) -> Tensor:
        """sigma(W) from above, to a relative ``tolerance`` / 2.

        Subspace iteration from fixed vectors with Rayleigh-Ritz: with s^2 the largest Ritz value of W^T W, v
        its unit vector and r = |W^T W v - s^2 v|, an eigenvalue lies in s^2 +- r, so sigma <= sqrt(s^2 + r)
        once v has turned to the largest. It stops at r <= tolerance s^2.
        """
        weight = self.layer.weight
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        dim = math.prod(self.shape)
        with noise.keyed(noise.keys(0, count=dim, device=weight.device)):
            basis = torch.linalg.qr(noise.normal(weight.new_empty(dim, min(BLOCK, dim))))[0]
        for iteration in range(MOST_ITERATIONS):
            image = self._transpose(self._map(basis.T.reshape(-1, *self.shape), weight), weight)
            image = image.flatten(1).T
            values, vectors = torch.linalg.eigh(basis.T @ image)
            top = vectors[:, -1]
            residual = (image @ top - values[-1] * (basis @ top)).norm()
            # not before a few iterations: the fixed vectors may begin almost within a smaller eigenspace
            if iteration >= 5 and bool(residual <= self.tolerance * values[-1]):
                break
            basis = torch.linalg.qr(image)[0]
        return (values[-1].clamp(min=0) + residual).sqrt()

    def _converged(self) -> Tensor:
        """The upper bound, computed once for each value of the weight."""
        weight = self.layer.weight
        state = (weight.data_ptr(), weight._version)
        if self._known is None or self._known[0] != state:
            self._known = state, self.upper_bound().to(weight.dtype)
        return self._known[1]

    @torch.no_grad()
    def _iterate(self, steps: int) -> None:
        right, weight = self.right, self.layer.weight
        for _ in range(steps):
            right = _unit(self._transpose(_unit(self._map(right, weight)), weight))
        self.right.copy_(right)

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if isinstance(self.layer, nn.Conv2d):
            return F.conv2d(x, weight, bias, padding=self.layer.padding)
        return F.linear(x, weight, bias)

    def _transpose(self, y: Tensor, weight: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Conv2d):
            return F.conv_transpose2d(y, weight, padding=self.layer.padding)  # type: ignore[arg-type]
        return F.linear(y, weight.T)


class LipschitzNetwork(nn.Module):
    """Spectrally normalised layers with ELU between them: Lip at most ``coefficient`` ** layers.

    Dense on vectors; on images convolutions 3x3, 1x1, .., 3x3 (Behrmann et al. 2019, section 5). ELU is
    1-Lipschitz and has a continuous derivative, which a density's gradient needs.

    Args:
        shape: event shape, of input and output.
        hidden: widths inside.
        coefficient: bound for each layer.

    Attributes:
        lipschitz: the bound on the whole network's constant.
    """

    def __init__(self, shape: tuple[int, ...], hidden: Sequence[int], coefficient: float = 0.9) -> None:
        super().__init__()
        widths = [shape[0], *hidden, shape[0]]
        layers: list[nn.Module] = []
        for index, (a, b) in enumerate(itertools.pairwise(widths)):
            kernel = 3 if index in (0, len(widths) - 2) else 1
            layer = nn.Linear(a, b) if len(shape) == 1 else nn.Conv2d(a, b, kernel, padding=kernel // 2)
            layers.append(SpectralNorm(layer, (a, *shape[1:]), coefficient))
        self.layers = nn.ModuleList(layers)
        self.lipschitz = coefficient ** len(layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, *shape)`` to the same."""
        tick()
        for index, layer in enumerate(self.layers):
            x = layer(F.elu(x) if index else x)
        return x


def _unit(x: Tensor) -> Tensor:
    return x / x.norm().clamp(min=torch.finfo(x.dtype).tiny)
