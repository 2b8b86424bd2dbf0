"""The invertible residual block."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from zoo.checks import NotNegative, Positive, PositiveFloat, checked, settings
from zoo.errors import Unsound, ZooError
from zoo.models.bijections.base import Bijection, usable, zeros
from zoo.models.core import rng
from zoo.models.core.functional import sum_event

SLACK = 10  # factor on the tolerance if only rounding in g still changes the iterates
FLOOR = 10  # changes below this many machine epsilons are rounding errors of g
ROWS = 128  # rows of an exact Jacobian per batch, to fit in a processor's cache
RESOLUTION = 2.0**-53  # of the uniform number from which a count of terms is drawn

Estimator = Literal["truncated", "roulette"]
Gradient = Literal["series", "neumann"]
Count = Literal["geometric", "poisson"]


@settings
class Series:
    """Settings of a residual block's log-determinant: exact, or a power series.

    Attributes:
        estimator: sum of the series of events with more than ``exact_dim`` dimensions: ``truncated`` or
            ``roulette``, see :class:`InvertibleResidual`.
        gradient: gradient of the series: ``series`` or ``neumann``, see :class:`InvertibleResidual`.
        terms: number of terms that are always summed, in training.
        eval_terms: number of terms that are always summed, in evaluation.
        count: distribution of the number N of further terms of ``roulette``: ``geometric``,
            P(N >= m) = 2^-m, or ``poisson`` with mean 2.
        exact_dim: largest number of dimensions for which the log-determinant is exact, in training.
        eval_exact_dim: the same in evaluation, where no gradient of it is needed; at least ``exact_dim``.
    """

    estimator: Estimator = "truncated"
    gradient: Gradient = "series"
    terms: Positive = 5
    eval_terms: Positive = 20
    count: Count = "geometric"
    exact_dim: NotNegative = 8
    eval_exact_dim: NotNegative = 64


@runtime_checkable
class HasJacobian(Protocol):
    """A network on vectors that computes its output and its whole Jacobian together."""

    def linearise(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the output ``(B, D)`` and its Jacobian in x, ``(B, D, D)``."""


Product = Callable[[Tensor, bool], Tensor]


@runtime_checkable
class HasProducts(Protocol):
    """A network on vectors that multiplies with its transposed Jacobian without differentiation."""

    def with_products(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Product]:
        """Return the output ``(B, D)``, and a function that multiplies rows ``(B, D)`` with J^T.

        J is the Jacobian of the output in x. The function takes the rows, and whether the product shall have
        a gradient in x and in the weights.
        """


@runtime_checkable
class HasLipschitzBound(Protocol):
    """A network that declares a bound on its Lipschitz constant in x."""

    lipschitz: float


class InvertibleResidual(Bijection):
    """An invertible residual block z = x + g(x) with Lip(g) = L < 1.

    The inverse is the fixed point of x = z - g(x). Behrmann et al. 2019 (arXiv:1811.00995), theorem 1, eq. 4
    and algorithms 1-2; Chen et al. 2019 (arXiv:1906.02735), theorems 1-2. With J = dg/dx, in nats,

        log|det dz/dx| = tr ln(I + J) = sum_{k >= 1} (-1)^{k+1} tr(J^k) / k,

    and tr(J^k) is estimated by Hutchinson's e^T J^k e, with one Rademacher probe e for each row and all k.
    For small events the value is exact, from the whole Jacobian. Estimators of the sum of the series:

    * ``truncated``: the first ``terms``; biased, by at most :meth:`bias_bound`.
    * ``roulette``: N more terms, N random, each divided by the probability that it is reached (Russian
      roulette): unbiased in value and gradient. In training all rows share one N, to save time; in evaluation
      each row draws its own from its own noise, so that the value of an example is independent of its batch.

    Gradients of the log-determinant, for each row and under any weights of the rows:

    * ``series``: the gradients of the terms; the graph of all terms is kept.
    * ``neumann``: d log|det| = tr((I + J)^-1 dJ), estimated by (sum_k w_k (-J^T)^{k-1} e)^T dJ e with the
      same probe and weights w_k, which keeps the graph of one product only. It is unbiased for the gradient
      of the same expectation, and the value remains the estimate of the log-determinant.

    The block is computed without autocast: the inverse and the series need g in full precision.

    The log-determinant of the inverse is minus the forward one at the solution; its gradient is implicit:
    dL/dz = (I + J)^-T dL/dx, itself a fixed point, so that no iterate is stored.

    Args:
        g: the residual branch ``g(x)`` or, given a context, ``g(x, context)``; it declares a bound
            ``lipschitz`` below 1 on its Lipschitz constant in x (:class:`HasLipschitzBound`).
        series: the log-determinant.
        tolerance: bound on the error of the inverse in float32, relative to max(1, largest |x_i|) of the row;
            scaled by the machine epsilon in other precisions (float64: 2e-9 times it). Ten times the
            tolerance is accepted if only rounding in g prevents convergence.
        most: largest number of iterations of the inverse.

    Attributes:
        last_iterations: number of iterations of the latest inverse.
        last_residual: relative change by its last iteration.
        last_terms: number of terms of the series in the latest forward pass; 0 if it was exact.

    Raises:
        ZooError: ``g.lipschitz`` is missing or not below 1.
    """

    @checked("model")
    def __init__(
        self,
        g: nn.Module,
        series: Series = Series(),
        *,
        tolerance: PositiveFloat = 1e-5,
        most: Positive = 500,
    ) -> None:
        super().__init__()
        self.g, self.series, self.tolerance, self.most = g, series, tolerance, most
        self.lipschitz = float(g.lipschitz) if isinstance(g, HasLipschitzBound) else math.nan
        if not self.lipschitz < 1:
            raise ZooError(f"A residual block needs g.lipschitz below 1; got {self.lipschitz:g}.")
        # P(N >= m) for m = 1, 2, .., as long as the uniform number can be below it
        survival = _SURVIVAL[series.count]
        chances = [survival(m) for m in range(1, 64)] if series.estimator == "roulette" else []
        self._survival = tuple(chance for chance in chances if chance >= RESOLUTION)
        self.last_iterations, self.last_residual, self.last_terms = 0, 0.0, 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if len(x) == 0:
            return x, zeros(x)
        keep = torch.is_grad_enabled()
        exact = self.is_exact(x[0].numel(), self.training)
        self.last_terms = 0
        with torch.inference_mode(False), torch.autocast(x.device.type, enabled=False):
            x, context = usable(x), usable(context)
            if keep or not exact:
                return self._forward(x, context, exact, keep)
            given = [None] * len(x.split(ROWS)) if context is None else context.split(ROWS)
            parts = [self._forward(a, b, exact, keep) for a, b in zip(x.split(ROWS), given, strict=True)]
            return torch.cat([z for z, _ in parts]), torch.cat([log_det for _, log_det in parts])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.invert(z, context)
        return x, -self.forward(x, context)[1]

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the inverse without its log-determinant.

        Raises:
            Unsound: no convergence within ``most`` iterations.
        """
        with torch.autocast(z.device.type, enabled=False):
            with torch.no_grad():
                solution, self.last_iterations, self.last_residual = self._fixed_point(
                    lambda x: z - self._branch(x, context), z
                )
            if not torch.is_grad_enabled():
                return solution
            point = solution.requires_grad_()
            out = self._branch(point, context)
        x = z - out

        def implicit(grad: Tensor) -> Tensor:
            def transposed(v: Tensor) -> Tensor:
                return grad - torch.autograd.grad(out, point, v, retain_graph=True)[0]

            return self._fixed_point(transposed, grad, scale=float(grad.abs().max()))[0]

        x.register_hook(implicit)
        return x

    def is_exact(self, dim: int, training: bool = False) -> bool:
        """Return whether the log-determinant of events of ``dim`` dimensions is exact."""
        exact_dim, eval_exact_dim = self.series.exact_dim, self.series.eval_exact_dim
        return dim <= (exact_dim if training else max(exact_dim, eval_exact_dim))

    def bias_bound(self, dim: int) -> float:
        """Return a bound on the bias of the log-determinant in evaluation, in nats; 0 if it is exact.

        It is D (-ln(1 - L) - sum_{k <= n} L^k / k), since |tr(J^k)| <= D L^k, where n is the largest number
        of terms that the estimator can reach. The roulette ends at the term whose probability is 2^-53, the
        resolution of the uniform number that decides.
        """
        if self.is_exact(dim):
            return 0.0
        reached = self.series.eval_terms + len(self._survival)
        kept = sum(self.lipschitz**k / k for k in range(1, reached + 1))
        return dim * max(0.0, -math.log1p(-self.lipschitz) - kept)

    def _forward(self, x: Tensor, context: Tensor | None, exact: bool, keep: bool) -> tuple[Tensor, Tensor]:
        if exact and x.ndim == 2 and isinstance(self.g, HasJacobian):
            # in training with gradients even where none are wanted, since spectral norms follow the weights
            # only then
            with torch.set_grad_enabled(keep or self.training):
                out, jacobian = self.g.linearise(x, context)
                z, log_det = x + out, _log_det(jacobian)
            return (z, log_det) if keep else (z.detach(), log_det.detach())
        if not exact and x.ndim == 2 and isinstance(self.g, HasProducts):
            with torch.set_grad_enabled(keep or self.training):
                out, transposed = self.g.with_products(x, context)
                z, log_det = x + out, self._series(x, transposed, keep)
            return (z, log_det) if keep else (z.detach(), log_det.detach())
        with torch.enable_grad():  # J is needed even if the caller has disabled gradients
            # a view: hooks of x itself must not act on the products below
            point = x.view_as(x) if keep and x.requires_grad else x.detach().requires_grad_()
            out = self._branch(point, context)

            def differentiated(v: Tensor, differentiable: bool) -> Tensor:
                return torch.autograd.grad(out, point, v, create_graph=differentiable, retain_graph=True)[0]

            log_det = _exact(point, out, keep) if exact else self._series(point, differentiated, keep)
        z = x + out
        return (z, log_det) if keep else (z.detach(), log_det.detach())

    def _branch(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.g(x) if context is None else self.g(x, context)

    def _series(self, x: Tensor, transposed: Product, keep: bool) -> Tensor:
        """Return the estimate of the log-determinant, ``(B,)``.

        Args:
            x: the input.
            transposed: function of rows v, and of whether the product shall have a gradient: returns J^T v.
            keep: whether the estimate shall have a gradient.
        """
        weights = self._weights(x)
        self.last_terms = len(weights)
        neumann = keep and self.series.gradient == "neumann"
        probe = rng.rademacher(x.detach())
        product, direction, total = probe, torch.zeros_like(probe), torch.zeros_like(probe)
        for k, weight in enumerate(weights, 1):
            signed = weight if k % 2 else -weight
            if neumann:
                direction = _plus(direction, signed, product)
            product = transposed(product, keep and not neumann)
            total = _plus(total, signed / k, product)
        log_det = sum_event(total * probe)
        if neumann:
            surrogate = sum_event(transposed(direction, True) * probe)  # only its gradient is used
            log_det = surrogate + (log_det - surrogate.detach())
        return log_det

    def _weights(self, x: Tensor) -> list[float | Tensor]:
        """Return the weight of each term of the series: a number, or one for each row, ``(B,)``."""
        weights: list[float | Tensor] = [1.0] * (
            self.series.terms if self.training else self.series.eval_terms
        )
        if self.series.estimator == "truncated":
            return weights
        wide = torch.float64 if x.device.type != "mps" else torch.float32
        if self.training:
            draw = rng.uniform_of_first(len(x))
            if draw is None:
                rows = len(x) if rng.is_keyed() else 1
                draw = float(rng.uniform(torch.empty(rows, 1, dtype=wide, device=x.device))[0])
            return weights + [1 / chance for chance in self._survival if draw < chance]
        survival = torch.tensor(self._survival, dtype=wide, device=x.device)
        extra = (rng.uniform(torch.empty(len(x), 1, dtype=wide, device=x.device)) < survival).sum(1)
        reached = range(1, int(extra.max()) + 1)
        return weights + [((extra >= m) / survival[m - 1]).to(x.dtype) for m in reached]

    def _fixed_point(
        self, step: Callable[[Tensor], Tensor], start: Tensor, scale: float = 1.0
    ) -> tuple[Tensor, int, float]:
        """Iterate a contraction of factor L until every row is within the tolerance of the solution.

        Returns:
            The solution, the number of iterations, and the relative change by the last iteration.

        Raises:
            Unsound: no convergence within ``most`` iterations, or a value that is not finite.
        """
        epsilon = torch.finfo(start.dtype).eps
        tolerance = self.tolerance * epsilon / torch.finfo(torch.float32).eps
        # contraction: after a change d, the solution is at most d L / (1 - L) away
        stop = max(tolerance * (1 - self.lipschitz), FLOOR * epsilon)
        hidden = SLACK * tolerance * (1 - self.lipschitz) / self.lipschitz if self.lipschitz > 0 else stop
        smallest = max(scale, torch.finfo(start.dtype).tiny)
        x, iteration, change, due = start.detach().clone(), 0, 0.0, math.inf
        while x.numel():
            following = step(x)
            size = following.abs().flatten(1).amax(1).clamp(min=smallest)
            change = float(((following - x).abs().flatten(1).amax(1) / size).max())
            x, iteration = following, iteration + 1
            due = (change if iteration == 1 else due) * self.lipschitz  # the change without rounding
            if change <= stop or (due <= stop and change <= hidden):
                break
            if iteration == self.most or not math.isfinite(change):
                raise Unsound(
                    f"A residual block's inverse did not converge in {iteration} iterations (change "
                    f"{change:.1e}, sought {stop:.1e}); lower model.spectral.coefficient or raise "
                    "model.tolerance."
                )
        return x, iteration, change


def _plus(total: Tensor, factor: float | Tensor, x: Tensor) -> Tensor:
    """Return ``total`` plus rows ``x`` times a number or, ``(B,)``, a number for each row."""
    if isinstance(factor, float):
        return total.add(x, alpha=factor)
    return torch.addcmul(total, factor.view(-1, *[1] * (x.ndim - 1)), x)


def _exact(x: Tensor, out: Tensor, keep: bool) -> Tensor:
    """Return log|det(I + dout/dx)|, ``(B,)``, from the whole Jacobian."""
    dim = x[0].numel()
    if x.ndim == 2 and not keep:  # one batch of all products is faster for vectors, slower for convolutions
        units = torch.eye(dim).to(x)[:, None].expand(dim, *x.shape)
        (rows,) = torch.autograd.grad(out, x, units, is_grads_batched=True)
        jacobian = rows.transpose(0, 1)
    else:
        columns = out.flatten(1).sum(0)
        jacobian = torch.stack(
            [
                torch.autograd.grad(column, x, create_graph=keep, retain_graph=True)[0].flatten(1)
                for column in columns
            ],
            1,
        )
    return _log_det(jacobian)


def _log_det(jacobian: Tensor) -> Tensor:
    """Return log|det(I + J)|, ``(B,)``, of Jacobians ``(B, D, D)``."""
    jacobian = jacobian.to(torch.promote_types(jacobian.dtype, torch.float32))
    unit = torch.eye(jacobian.shape[1], dtype=jacobian.dtype, device=jacobian.device)
    return torch.linalg.slogdet(jacobian + unit)[1]


def _poisson_survival(m: int, mean: float = 2.0) -> float:
    """Return P(N >= m) of a Poisson number N, summed from the smallest term, since 1 - P(N < m) cancels."""
    return math.exp(-mean) * sum(mean**k / math.factorial(k) for k in reversed(range(m, m + 60)))


_SURVIVAL: dict[str, Callable[[int], float]] = {
    "geometric": lambda m: 2.0**-m,
    "poisson": _poisson_survival,
}
