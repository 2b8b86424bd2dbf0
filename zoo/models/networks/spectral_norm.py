"""Spectral normalisation of linear layers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Annotated, Any, NamedTuple, cast

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from zoo.checks import Positive, PositiveFloat, settings
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.functional import computes_by_hand
from zoo.models.core.memo import Memo

BLOCK = 8  # vectors iterated together in evaluation: close singular values then cost no extra iterations
MOST_ITERATIONS = 1000
FIRST_ITERATIONS = 10  # power iterations from a random vector
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
        self._scaling: _Scaling | None = None
        self._checks = 1  # convergence checks that the last iterations took
        self._group: Sequence[SpectralNorm] = (self,)

    def forward(self, x: Tensor) -> Tensor:
        return self._map(x, self.weight(), self.layer.bias)

    def weight(self) -> Tensor:
        """Return the normalised weight."""
        weight = self.layer.weight
        if not self.training:
            return self._normalised.of(
                self, (weight,), lambda: _bounded(weight, self._converged(), self.coefficient)
            )
        state = _state(weight)
        if self._iterated != state and torch.is_grad_enabled():
            _iterate([layer for layer in self._group if layer.training and layer._is_outdated()])
        scaling = self._scaling
        if scaling is not None and scaling.state == state and computes_by_hand(weight.detach()):
            return cast(Tensor, _Scaled.apply(weight, scaling))
        # the gradient of |W v| at fixed v is u v^T, the gradient of sigma; v is copied, since the next
        # iteration overwrites it, perhaps before the backward pass of this one
        sigma = self._margin * self._map(self.right.clone(), weight).norm()
        return _bounded(weight, sigma, self.coefficient)

    def train(self, mode: bool = True) -> SpectralNorm:
        self._normalised.forget()
        self._known = self._iterated = None  # the weight may have been changed through .data, unnoticed
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

    def _is_outdated(self) -> bool:
        """Return whether the weight has changed since the last power iterations."""
        return self._iterated != _state(self.layer.weight)

    def _converged(self) -> Tensor:
        """Return the upper bound, computed once for each value of the weight."""
        state = _state(self.layer.weight)
        if self._known is None or self._known[0] != state:
            with torch.inference_mode(False):  # the bound may be used later with gradients
                self._known = state, self.upper_bound().to(self.layer.weight.dtype)
        return self._known[1]

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if isinstance(self.layer, nn.Conv2d):
            return F.conv2d(x, weight, bias, self.layer.stride, self.layer.padding)
        return F.linear(x, weight, bias)

    def _transpose(self, y: Tensor, weight: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Conv2d):
            size = (len(y), *self.shape)
            return conv2d_input(size, weight, y, self.layer.stride, self.layer.padding)
        return F.linear(y, weight.T)


def _state(weight: Tensor) -> tuple[int, int]:
    """Return the address and the version of a weight, which change with its value."""
    return weight.data_ptr(), weight._version


def _bounded(weight: Tensor, sigma: Tensor, coefficient: float) -> Tensor:
    """Return the weight of a map with norm ``sigma``, scaled to a norm of at most ``coefficient``."""
    return weight * (coefficient / sigma.clamp(min=coefficient))


class _Scaling(NamedTuple):
    """The normalisation of one value W of a dense layer's weight, by f = c / max(c, sigma).

    Attributes:
        state: address and version of the weight.
        coefficient: c.
        right: unit vector v, ``(n,)``.
        margin: m, with sigma = m |W v|.
        image: u = W v, ``(m,)``.
        factor: f.
        slope: f m / (sigma |u|) where sigma > c, otherwise 0.
    """

    state: tuple[int, int]
    coefficient: float
    right: Tensor
    margin: Tensor
    image: Tensor
    factor: Tensor
    slope: Tensor


class _Scaled(torch.autograd.Function):
    """W -> f W, with the gradient f G - slope <G, W> u v^T for G of the result; see :class:`_Scaling`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scaling: _Scaling) -> Tensor:
        ctx.scaling = scaling
        ctx.save_for_backward(weight)
        return weight * scaling.factor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,), (weight,), scaling = grads, ctx.saved_tensors, ctx.scaling
        if torch.is_grad_enabled():  # this pass will be differentiated
            sigma = scaling.margin * (weight @ scaling.right).norm()
            out = _bounded(weight, sigma, scaling.coefficient)
            return torch.autograd.grad(out, weight, grad, create_graph=True)[0], None
        inner = torch.dot(grad.flatten(), weight.flatten()) * scaling.slope
        return torch.addr(grad * scaling.factor, scaling.image, scaling.right * inner, alpha=-1), None


def iterate_together(module: nn.Module) -> None:
    """Let the spectral norms of a module make their power iterations of an update at the same time.

    The host then waits for the convergence of all at once, instead of each. The results are the same.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, SpectralNorm)]
    for layer in layers:
        layer._group = layers


@torch.compiler.disable  # each wait for a convergence would interrupt compiled code anyway
@torch.no_grad()
def _iterate(layers: Sequence[SpectralNorm]) -> None:
    """Make the power iterations of layers whose weights have changed.

    Whether the vectors of a layer have converged is decided on its device. The host learns of it for all
    layers at once, after as many checks as each layer took the last time; layers that need more of them
    then make twice as many. A layer keeps the first vector that has converged, however many were made.
    """
    groups = _alike(layers)
    waiting: list[tuple[_Alike, Tensor, int, int]] = []  # vectors, checks made, checks to make
    for alike in groups:
        right = alike.right
        for _ in range(alike.steps):
            right = alike.power(right)[0]
        if alike.tolerance is None:
            alike.keep(right)
        else:
            waiting.append((alike, right, 0, alike.checks))
    while waiting:
        tried: list[tuple[list[Tensor], list[Tensor]]] = []  # vectors and margins
        flags: list[Tensor] = []
        for alike, right, made, more in waiting:
            vectors, margins = [right], list[Tensor]()
            for _ in range(min(more, MOST_ITERATIONS - FEWEST_ITERATIONS - made)):
                following, converged, margin = alike.check(vectors[-1])
                vectors.append(following)
                margins.append(margin)
                flags.append(converged)
            tried.append((vectors, margins))
        answers = iter(torch.cat(flags).tolist())
        left = []
        for (alike, _, made, more), (vectors, margins) in zip(waiting, tried, strict=True):
            found = [[next(answers) for _ in alike.layers] for _ in margins]
            late = alike.keep_first(vectors, margins, found, made)
            made += len(margins)
            if late and made >= MOST_ITERATIONS - FEWEST_ITERATIONS:
                alike.part(late).keep(vectors[-1][late])
            elif late:
                left.append((alike.part(late), vectors[-1][late], made, 2 * more))
        waiting = left
    for alike in groups:
        alike.scale()


def _alike(layers: Sequence[SpectralNorm]) -> list[_Alike]:
    """Return the layers in groups that can be iterated as one batch, and mark their weights as iterated."""
    groups: dict[Hashable, list[SpectralNorm]] = defaultdict(list)
    for layer in layers:
        weight = layer.layer.weight
        dense = (
            (weight.shape, weight.dtype, weight.device) if isinstance(layer.layer, nn.Linear) else id(layer)
        )
        groups[dense, layer.iterations, layer.train_tolerance, layer._iterated is None].append(layer)
    made = [_Alike(group) for group in groups.values()]
    for layer in layers:
        layer._iterated = _state(layer.layer.weight)
    return made


class _Alike:
    """Layers whose vectors are iterated as one batch: dense ones of the same shape, or a single convolution.

    Attributes:
        tolerance: the layers' ``train_tolerance``.
        steps: number of iterations that are made without a check of convergence.
        checks: number of checks after which the most patient layer had converged the last time.
        right: their vectors, ``(G, *shape)``.
    """

    def __init__(self, layers: Sequence[SpectralNorm]) -> None:
        self.layers = layers
        first = layers[0]
        self.tolerance = first.train_tolerance
        # at the start, or after a while in evaluation, a vector may be far from the singular one
        fixed = first.iterations if first._iterated else max(first.iterations, FIRST_ITERATIONS)
        self.steps = fixed if self.tolerance is None else FEWEST_ITERATIONS
        self.checks = max(layer._checks for layer in layers)
        self.right = torch.cat([layer.right for layer in layers])
        weights = [layer.layer.weight for layer in layers]
        self.weights = torch.stack(weights) if isinstance(first.layer, nn.Linear) else None

    def _images(self, right: Tensor) -> Tensor:
        """Return W v of the dense layers; as a row, v W^T takes a tenth of the time of W v as a column."""
        assert self.weights is not None
        return torch.bmm(right[:, None], self.weights.transpose(1, 2))[:, 0]

    def part(self, places: Sequence[int]) -> _Alike:
        """Return the layers at these places as a group of their own."""
        return self if len(places) == len(self.layers) else _Alike([self.layers[i] for i in places])

    def power(self, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the vectors after a power iteration from v = ``right``, W^T W v and W v."""
        if self.weights is not None:
            image = self._images(right)
            back = torch.bmm(image[:, None], self.weights)[:, 0]
            norm = torch.linalg.vector_norm(back, dim=1, keepdim=True)
        else:
            only = self.layers[0]
            image = only._map(right, only.layer.weight)
            back = only._transpose(image, only.layer.weight)
            norm = back.norm()
        return torch.where(norm > 0, back / norm.clamp(min=_tiny(norm)), right), back, image

    def check(self, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Iterate once; return the next vectors, whether ``right`` has converged, and margins of sigma.

        With s^2 = |W v|^2 and r = |W^T W v - s^2 v|, an eigenvalue of W^T W lies in s^2 +- r. A vector has
        converged at r <= ``tolerance`` s^2; its margin is sqrt(1 + r / s^2). Both are ``(G,)``.
        """
        following, back, image = self.power(right)
        square = image.flatten(1).square().sum(1)
        residual = torch.addcmul(back.flatten(1), square[:, None], right.flatten(1), value=-1).norm(dim=1)
        margin = (1 + residual / square.clamp(min=_tiny(square))).sqrt()
        return following, residual <= cast(float, self.tolerance) * square, margin

    def scale(self) -> None:
        """Compute how the present weights of dense layers are normalised."""
        if self.weights is None:
            return
        right = torch.cat([layer.right for layer in self.layers])
        margin = torch.stack([torch.as_tensor(layer._margin).to(right) for layer in self.layers])
        image = self._images(right)
        size = image.norm(dim=1)
        sigma = margin * size
        coefficient = right.new_tensor([layer.coefficient for layer in self.layers])
        factor = coefficient / sigma.maximum(coefficient)
        slope = torch.where(sigma > coefficient, factor * margin / (sigma * size), 0.0)
        rows = zip(self.layers, right, margin, image, factor, slope, strict=True)
        for layer, *row in rows:
            layer._scaling = _Scaling(_state(layer.layer.weight), layer.coefficient, *row)

    def keep(self, right: Tensor) -> None:
        """Give the layers their vectors ``(G, *shape)``."""
        for place, layer in enumerate(self.layers):
            layer.right.copy_(right[place : place + 1])

    def keep_first(
        self, vectors: Sequence[Tensor], margins: Sequence[Tensor], found: Sequence[Sequence[bool]], made: int
    ) -> list[int]:
        """Give each layer its first vector that has converged; return the places of the layers without one.

        Args:
            vectors: the vectors that were checked, in order.
            margins: their margins of sigma.
            found: of each check, which layers had converged.
            made: number of checks made before.
        """
        late = []
        for place, layer in enumerate(self.layers):
            first = next((check for check, had in enumerate(found) if had[place]), None)
            if first is None:
                late.append(place)
            else:
                layer.right.copy_(vectors[first][place : place + 1])
                layer._margin, layer._checks = margins[first][place], made + first + 1
        return late


def _tiny(x: Tensor) -> float:
    return torch.finfo(x.dtype).tiny
