"""Networks whose Lipschitz constant is bounded by spectral normalisation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.networks.evaluations import tick

MOST_ITERATIONS = 2000


class SpectralNorm(nn.Module):
    """A linear map kept at spectral norm at most ``coefficient``: W -> W / max(1, sigma(W) / coefficient).

    sigma is found by power iteration on the map itself: for a convolution that is the convolution at its
    input's size, not its kernel reshaped (Gouk et al. 2018; Behrmann et al. 2019, appendix). In training a
    few warm-started steps are made before every use; on entering evaluation mode the iteration runs until
    sigma stands still to ``tolerance``. The estimate approaches sigma from below, so ``margin`` is added.

    Args:
        layer: ``nn.Linear`` or ``nn.Conv2d`` (stride 1, same padding).
        shape: event shape of the input.
        coefficient: bound on the norm, below 1.
        iterations: power-iteration steps in training.
        tolerance: relative change at which evaluation stops iterating.
    """

    right: Tensor
    sigma: Tensor

    def __init__(
        self,
        layer: nn.Linear | nn.Conv2d,
        shape: tuple[int, ...],
        coefficient: float = 0.9,
        iterations: int = 2,
        tolerance: float = 1e-6,
    ) -> None:
        super().__init__()
        self.layer, self.coefficient = layer, coefficient
        self.iterations, self.tolerance = iterations, tolerance
        self.register_buffer("right", F.normalize(torch.randn(1, *shape).flatten(1), dim=1).view(1, *shape))
        self.register_buffer("sigma", torch.ones(()))
        self._iterate(50)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self._iterate(self.iterations)
        # sigma as a function of the weight (u^T W v with u, v fixed), so that its gradient is counted
        weight = self.layer.weight
        if self.training and torch.is_grad_enabled():
            left = self._map(self.right.detach(), weight.detach())
            left = left / left.norm().clamp(min=1e-12)
            sigma = (left.detach() * self._map(self.right.detach(), weight)).sum()
        else:
            sigma = self.sigma
        factor = torch.clamp(self.coefficient / sigma, max=1.0)
        return self._map(x, weight * factor, self.layer.bias)

    def train(self, mode: bool = True) -> SpectralNorm:
        if not mode and self.training:
            self.converge()
        return super().train(mode)

    @torch.no_grad()
    def converge(self) -> None:
        """Iterate until sigma changes by less than the tolerance."""
        for _ in range(MOST_ITERATIONS // 10):
            before = float(self.sigma)
            self._iterate(10)
            if abs(float(self.sigma) - before) <= self.tolerance * max(before, 1e-12):
                return

    @torch.no_grad()
    def _iterate(self, steps: int) -> None:
        weight = self.layer.weight
        right = self.right.to(weight.dtype)
        for _ in range(steps):
            left = self._map(right, weight)
            norm = left.norm().clamp(min=1e-12)
            right = self._transpose(left / norm, weight)
            right = right / right.norm().clamp(min=1e-12)
        self.right.copy_(right)
        self.sigma.copy_(self._map(right, weight).norm())

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

    Dense on vectors; on images convolutions 3x3, 1x1, 3x3 (Behrmann et al. 2019, section 5). ELU is
    1-Lipschitz and has a continuous derivative, which a density's gradient needs.

    Args:
        shape: event shape, of input and output.
        hidden: widths inside.
        coefficient: bound for each layer.
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
        tick()
        for index, layer in enumerate(self.layers):
            x = layer(F.elu(x) if index else x)
        return x
