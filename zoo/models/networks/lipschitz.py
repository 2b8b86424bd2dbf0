"""Networks whose Lipschitz constant is bounded by spectral normalisation."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, cast

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from zoo.checks import Positive, PositiveFloat, settings
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.memo import Memo
from zoo.models.core.nfe import add_nfe

Activation = Literal["elu", "lipswish", "sincos"]

BLOCK = 8  # vectors iterated together in evaluation: close singular values then cost no extra iterations
MOST_ITERATIONS = 1000
FIRST_ITERATIONS = 10  # power iterations from a random vector
FAR = 1e4  # its sigmoid is exactly 1, in float64 too
SLOWEST = 1e-3  # smallest frequency of a wave: almost a straight line, for data of ordinary scale
FEWEST_ITERATIONS = 5  # vectors that start near another eigenspace seem converged at first


@settings
class Spectral:
    """Spectral normalisation of the layers of a residual branch.

    Attributes:
        coefficient: bound on the spectral norm of each layer; must be below 1 for the block to be invertible.
        iterations: power iterations after each change of the weights, in training.
        train_tolerance: relative width of the interval for the squared norm to which the power iterations of
            training converge, in place of ``iterations``; None for a fixed number of iterations.
    """

    coefficient: Annotated[float, Gt(0), Lt(1)] = 0.9
    iterations: Positive = 2
    train_tolerance: PositiveFloat | None = None


class SpectralNorm(nn.Module):
    """A linear map with spectral norm at most ``coefficient``: W -> W / max(1, sigma(W) / coefficient).

    sigma is the norm of the linear map: for a convolution, the norm at the size of its input, zero padding
    included, not of its kernel reshaped to a matrix (Gouk et al. 2018, arXiv:1804.04368; Behrmann et al.
    2019, section 2.1). A map whose norm is already below the bound is unchanged.

    In training, warm-started power iterations follow every change of W, and the gradient includes the
    dependence of sigma on W. After a few ``iterations`` sigma is too small by an unknown amount; with
    ``train_tolerance`` the iterations continue until an eigenvalue of W^T W lies in an interval of that
    relative width around sigma^2, whose upper end is used. There are no iterations while W is unchanged, so a
    layer that is run twice is the same map. Layers of :func:`iterate_together` share the waits of the host
    for their convergence.

    Evaluation depends on W only (a reloaded model has the same outputs): sigma is an upper bound, computed to
    ``tolerance`` by :meth:`upper_bound`, and the vector of training is not changed. The bound is cached until
    the weight changes in place. A change through ``.data`` is not detected: call :meth:`train` or
    :meth:`eval` after it, otherwise the old sigma is used for the new weight.

    Args:
        layer: ``nn.Linear`` or ``nn.Conv2d`` (zero padding, any stride, no dilation, no groups).
        shape: event shape of the input.
        coefficient: bound on the norm; below 1 for a contraction.
        iterations: power iterations after each change of W in training.
        train_tolerance: relative width of the interval for sigma^2 in training, in place of ``iterations``
            (Chen et al. 2019, appendix D, iterate to a tolerance too).
        tolerance: relative width of the interval for sigma^2, in evaluation.

    Raises:
        ZooError: the layer is built in ``torch.inference_mode``, whose tensors do not count changes.
    """

    right: Tensor

    def __init__(
        self,
        layer: nn.Linear | nn.Conv2d,
        shape: tuple[int, ...],
        coefficient: float = 0.9,
        *,
        iterations: int = 2,
        train_tolerance: float | None = None,
        tolerance: float = 1e-3,
    ) -> None:
        super().__init__()
        if layer.weight.is_inference():
            raise ZooError("A spectral norm cannot be built in torch.inference_mode; build it outside.")
        self.layer, self.shape, self.coefficient = layer, tuple(shape), coefficient
        self.iterations, self.train_tolerance, self.tolerance = iterations, train_tolerance, tolerance
        start = torch.randn(1, *shape)
        self.register_buffer("right", start / start.norm())
        self._known: tuple[tuple[int, int], Tensor] | None = None
        self._normalised: Memo[Tensor] = Memo()
        self._iterated: tuple[int, int] | None = None
        self._margin: Tensor | float = 1.0
        self._checks = 1  # convergence checks that the last iterations took
        self._group: Sequence[SpectralNorm] = (self,)

    def forward(self, x: Tensor) -> Tensor:
        return self._map(x, self.weight(), self.layer.bias)

    def weight(self) -> Tensor:
        """Return the normalised weight."""
        weight = self.layer.weight
        if self.training:
            if torch.is_grad_enabled() and self._is_outdated():
                outdated = [layer for layer in self._group if layer.training and layer._is_outdated()]
                _iterate(outdated)
            # the gradient of |W v| at fixed v is u v^T, the gradient of sigma; v is copied, since the next
            # iteration overwrites it, perhaps before the backward pass of this one
            sigma = self._margin * self._map(self.right.clone(), weight).norm()
        else:
            return self._normalised.of(self, (weight,), lambda: self._bounded(self._converged()))
        return self._bounded(sigma)

    def _bounded(self, sigma: Tensor) -> Tensor:
        return self.layer.weight * (self.coefficient / sigma.clamp(min=self.coefficient))

    def train(self, mode: bool = True) -> SpectralNorm:
        self._normalised.forget()
        self._known = self._iterated = None  # a change through .data is not detected
        return super().train(mode)

    @torch.no_grad()
    def upper_bound(self) -> Tensor:
        """Return an upper bound on sigma(W), at most a share ``tolerance`` / 2 above it.

        Subspace iteration from fixed vectors with Rayleigh-Ritz: with s^2 the largest Ritz value of W^T W, v
        its unit vector and r = |W^T W v - s^2 v|, an eigenvalue lies in s^2 +- r, so sigma <= sqrt(s^2 + r)
        once v is close to the first singular vector. It stops at r <= tolerance s^2.
        """
        weight = self.layer.weight
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        dim = math.prod(self.shape)
        with rng.keyed(rng.keys(0, count=dim, device=weight.device)):
            basis = torch.linalg.qr(rng.normal(weight.new_empty(dim, min(BLOCK, dim))))[0]
        for iteration in range(MOST_ITERATIONS):
            image = self._transpose(self._map(basis.T.reshape(-1, *self.shape), weight), weight)
            image = image.flatten(1).T
            values, vectors = torch.linalg.eigh(basis.T @ image)
            top = vectors[:, -1]
            residual = (image @ top - values[-1] * (basis @ top)).norm()
            if iteration >= FEWEST_ITERATIONS and bool(residual <= self.tolerance * values[-1]):
                break
            basis = torch.linalg.qr(image)[0]
        return (values[-1].clamp(min=0) + residual).sqrt()

    def _state(self) -> tuple[int, int]:
        """Return the address and the version of the weight, which change with its value."""
        return self.layer.weight.data_ptr(), self.layer.weight._version

    def _is_outdated(self) -> bool:
        """Return whether the weight has changed since the last power iterations."""
        return self._iterated != self._state()

    def _converged(self) -> Tensor:
        """Return the upper bound, computed once for each value of the weight."""
        if self._known is None or self._known[0] != self._state():
            with torch.inference_mode(False):  # the bound may be used later with gradients
                self._known = self._state(), self.upper_bound().to(self.layer.weight.dtype)
        return self._known[1]

    def _follow(self) -> None:
        """Make the fixed number of power iterations that follows a change of the weight."""
        # at the start, or after a while in evaluation, the vector may be far from the singular one
        steps = self.iterations if self._iterated else max(self.iterations, FIRST_ITERATIONS)
        right = self.right
        for _ in range(steps):
            right, _, _ = self._power(right)
        self.right.copy_(right)

    def _power(self, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the vector after a power iteration from v = ``right``, W^T W v and |W v|^2."""
        image = self._map(right, self.layer.weight)
        back, square = self._transpose(image, self.layer.weight), image.square().sum()
        norm = back.norm()
        return torch.where(norm > 0, back / norm.clamp(min=_tiny(norm)), right), back, square

    def _check(self, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Iterate once; return the next vector, whether ``right`` has converged, and the margin of sigma."""
        following, back, square = self._power(right)
        residual = (back - square * right).norm()
        margin = (1 + residual / square.clamp(min=_tiny(square))).sqrt()
        return following, residual <= cast(float, self.train_tolerance) * square, margin

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if isinstance(self.layer, nn.Conv2d):
            return F.conv2d(x, weight, bias, self.layer.stride, self.layer.padding)
        return F.linear(x, weight, bias)

    def _transpose(self, y: Tensor, weight: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Conv2d):
            size = (len(y), *self.shape)
            return conv2d_input(size, weight, y, self.layer.stride, self.layer.padding)
        return F.linear(y, weight.T)


def iterate_together(module: nn.Module) -> None:
    """Let the spectral norms of a module make their power iterations of an update at the same time.

    The host then waits for the convergence of all at once, instead of each. The results are the same.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, SpectralNorm)]
    for layer in layers:
        layer._group = layers


@torch.compiler.disable  # compiled code would have to be left at every wait anyway
@torch.no_grad()
def _iterate(layers: Iterable[SpectralNorm]) -> None:
    """Make the power iterations of layers whose weights have changed.

    Whether the vectors of a layer have converged is decided on its device. The host learns of it for all
    layers at once, after as many checks as each layer took the last time; a layer that needs more of them
    then makes twice as many. A layer keeps the first vector that has converged, however many were made.
    """
    waiting: list[tuple[SpectralNorm, Tensor, int, int]] = []  # vector, checks made, checks to make
    for layer in layers:
        if layer.train_tolerance is None:
            layer._follow()
        else:
            right = layer.right
            for _ in range(FEWEST_ITERATIONS):
                right, _, _ = layer._power(right)
            waiting.append((layer, right, 0, layer._checks))
        layer._iterated = layer._state()
    while waiting:
        tried: list[tuple[list[Tensor], list[Tensor]]] = []  # vectors and margins of each layer
        flags: list[Tensor] = []
        for layer, right, made, more in waiting:
            vectors, margins = [right], list[Tensor]()
            for _ in range(min(more, MOST_ITERATIONS - FEWEST_ITERATIONS - made)):
                following, converged, margin = layer._check(vectors[-1])
                vectors.append(following)
                margins.append(margin)
                flags.append(converged)
            tried.append((vectors, margins))
        answers = iter(torch.stack(flags).tolist())
        left = []
        for (layer, _, made, more), (vectors, margins) in zip(waiting, tried, strict=True):
            found = [next(answers) for _ in margins]
            made += len(found)
            if True in found:
                first = found.index(True)
                layer.right.copy_(vectors[first])
                layer._margin, layer._checks = margins[first], made - len(found) + first + 1
            elif made >= MOST_ITERATIONS - FEWEST_ITERATIONS:
                layer.right.copy_(vectors[-1])
            else:
                left.append((layer, vectors[-1], made, 2 * more))
        waiting = left


class Pointwise(nn.Module):
    """Base class of 1-Lipschitz activations with their slopes.

    Attributes:
        copies: number of output channels for each input channel.
    """

    copies = 1

    def linearise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and slopes, ``(B, copies C)`` each, of ``(B, C)``."""
        raise NotImplementedError


class LipSwish(Pointwise):
    """LipSwish, x sigmoid(softplus(b) x) / 1.1 with a learned b from 0.5 (Chen et al. 2019, section 3.3).

    The slope of x sigmoid(b x) is at most 1.09984 for every b, so LipSwish is 1-Lipschitz. Unlike ELU's, its
    second derivative is continuous and does not vanish where the slope is near 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        gate = (F.softplus(self.scale) * x).sigmoid_()
        return (x * gate).div_(1.1)

    def linearise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scaled = F.softplus(self.scale) * x
        gate = torch.sigmoid(scaled)
        bend = scaled.clamp(-FAR, FAR) * (1 - gate)  # infinity times 0 would be NaN
        return (x * gate).div_(1.1), torch.addcmul(gate, gate, bend).div_(1.1)


class ELU(Pointwise):
    """ELU: x for positive x, exp(x) - 1 otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x)

    def linearise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.elu(x), x.clamp(max=0).exp()


class SinCos(Pointwise):
    """The map of x to the pair sin(a x) / a, (cos(a x) - 1) / a: ``(B, C, ...)`` to ``(B, 2 C, ...)``.

    a = softplus(b) with a learned b, starting at 0.5. The two slopes, cos(a x) and -sin(a x), have norm one
    at every x. So the map is 1-Lipschitz and, unlike a scalar activation, reaches this bound everywhere, so
    that a network can use its full Lipschitz constant (for the same purpose Perugachi-Diaz et al. 2021,
    arXiv:2102.02694, use pairs of LipSwish, whose slopes have norms of 0.64 to 1).
    """

    copies = 2

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        rate = self._rate()
        return torch.cat([torch.sin(rate * x), -2 * torch.sin(rate * x / 2).square()], 1) / rate

    def linearise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rate = self._rate()
        sin, cos = torch.sin(rate * x), torch.cos(rate * x)
        half = -2 * torch.sin(rate * x / 2).square()  # cos - 1 without cancellation
        return torch.cat([sin, half], 1) / rate, torch.cat([cos, -sin], 1)

    def _rate(self) -> Tensor:
        return F.softplus(self.scale).clamp(min=SLOWEST)


_ACTIVATIONS: dict[str, type[Pointwise]] = {"elu": ELU, "lipswish": LipSwish, "sincos": SinCos}


class LipschitzNetwork(nn.Module):
    """A network of spectrally normalised layers with 1-Lipschitz activations between them.

    Layers are dense on vectors; on images they are convolutions 3x3, 1x1, .., 3x3 (Behrmann et al. 2019,
    section 5). A context shifts the output of the first layer, which does not change the Lipschitz constant
    in x.

    Args:
        shape: event shape of input and output.
        hidden: widths of the hidden layers.
        spectral: normalisation of the layers.
        activation: ``elu``, ``lipswish`` or ``sincos``; each has a continuous derivative, which the gradient
            of a density needs.
        activate_input: whether there is an activation before the first layer too.
        context: length of the context; 0 for none.

    Attributes:
        lipschitz: bound on the Lipschitz constant in x: ``coefficient`` to the power of the number of layers.
    """

    layers: Sequence[SpectralNorm]

    def __init__(
        self,
        shape: tuple[int, ...],
        hidden: Sequence[int],
        spectral: Spectral = Spectral(),
        *,
        activation: Activation = "elu",
        activate_input: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        widths = [shape[0], *hidden, shape[0]]
        layers: list[SpectralNorm] = []
        activations: list[nn.Module] = []
        for index, (a, b) in enumerate(itertools.pairwise(widths)):
            if index or activate_input:
                activations.append(_ACTIVATIONS[activation]())
                a *= _ACTIVATIONS[activation].copies
            else:
                activations.append(nn.Identity())
            kernel = 3 if index in (0, len(widths) - 2) else 1
            layer = nn.Linear(a, b) if len(shape) == 1 else nn.Conv2d(a, b, kernel, padding=kernel // 2)
            # the norm of a 1x1 convolution is the norm of its matrix, at any size
            inside = (a, *(shape[1:] if kernel > 1 else [1] * (len(shape) - 1)))
            layers.append(SpectralNorm(layer, inside, **dataclasses.asdict(spectral)))
        self.layers = cast("Sequence[SpectralNorm]", nn.ModuleList(layers))
        self.activations = nn.ModuleList(activations)
        self.context = nn.Linear(context, widths[1], bias=False) if context else None
        self.lipschitz = spectral.coefficient ** len(layers)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the output ``(B, *shape)`` of inputs ``(B, *shape)`` and contexts ``(B, context)``."""
        add_nfe()
        for index, (activation, layer) in enumerate(zip(self.activations, self.layers, strict=True)):
            x = layer(activation(x))
            if index == 0 and self.context is not None:
                shift = self.context(context)
                x = x + shift.view(*shift.shape, *[1] * (x.ndim - 2))
        return x

    def linearise(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the output ``(B, D)`` of vectors ``(B, D)`` and its Jacobian in x, ``(B, D, D)``.

        The layers transform D directions together with x. This takes fewer operations than products with the
        Jacobian, above all if the gradient of the Jacobian is needed too.
        """
        add_nfe()
        directions: Tensor | None = None  # (B, D, width): derivative of the units in x_j; None: the identity
        for index, (activation, layer) in enumerate(zip(self.activations, self.layers, strict=True)):
            weight = layer.weight()
            turned = weight.T
            if isinstance(activation, Pointwise):
                x, slope = activation.linearise(x)
                if directions is None:
                    turned = slope[..., None] * turned
                    if activation.copies > 1:
                        turned = turned.unflatten(1, (activation.copies, -1)).sum(1)
                elif activation.copies > 1:
                    directions = directions.repeat(1, 1, activation.copies) * slope[:, None]
                elif (
                    torch.is_grad_enabled() or directions.stride(0) == 0
                ):  # with stride 0 all rows are the same memory
                    directions = directions * slope[:, None]
                else:
                    directions *= slope[:, None]
            directions = turned.expand(len(x), -1, -1) if directions is None else directions @ turned
            x = F.linear(x, weight, layer.layer.bias)
            if index == 0 and self.context is not None:
                x = x + self.context(context)
        assert directions is not None
        return x, directions.transpose(1, 2)


def _tiny(x: Tensor) -> float:
    return torch.finfo(x.dtype).tiny
