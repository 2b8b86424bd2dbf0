"""The invertible residual block."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.checks import above, one_of, whole
from zoo.errors import Unsound, ZooError
from zoo.models.bijections.base import Bijection, usable, zeros
from zoo.models.core import rng
from zoo.models.core.functional import sum_event

SLACK = 10  # times the tolerance that rounding in g may leave, where nothing else does
FLOOR = 10  # machine epsilons below which rounding in g hides any further progress of the fixed point
ROWS = 128  # of an exact Jacobian at a time: as many as a processor's cache holds
RESOLUTION = 2.0**-53  # of the uniform number that a count of terms is drawn with

Estimator = Literal["truncated", "roulette"]
Gradient = Literal["series", "neumann"]
Count = Literal["geometric", "poisson"]


class InvertibleResidual(Bijection):
    """z = x + g(x) with Lip(g) = L < 1; the inverse is the fixed point of x = z - g(x).

    Behrmann et al. 2019 (arXiv:1811.00995), theorem 1, eq. 4 and algorithms 1-2; Chen et al. 2019
    (arXiv:1906.02735), theorems 1-2. With J = dg/dx, in nats,

        log|det dz/dx| = tr ln(I + J) = sum_{k >= 1} (-1)^{k+1} tr(J^k) / k,

    and tr(J^k) is estimated by Hutchinson's e^T J^k e, with one Rademacher probe e for each row and all k.
    Small events get the exact value, from the whole Jacobian. Estimators of the series' sum:

    * ``truncated``: the first ``terms``; biased, by at most :meth:`bias_bound`.
    * ``roulette``: N more terms, N random, each divided by the probability that it is reached (Russian
      roulette): unbiased in value and gradient. In training all rows share one N, for its cost; in evaluation
      each row draws its own from its own noise, so that no example's value depends on its batch.

    Gradients of the log-determinant, for each row and under any weights of the rows:

    * ``series``: those of the terms themselves; the graph of all of them is kept.
    * ``neumann``: d log|det| = tr((I + J)^-1 dJ), estimated by (sum_k w_k (-J^T)^{k-1} e)^T dJ e with the
      same probe and weights w_k: the graph of one product only. As a function of the weights w_k it is the
      gradient of the same expectation, and the value remains the estimate of the log-determinant.

    The block leaves autocast: the inverse and the series need g in full precision.

    The inverse's log-determinant is minus the forward one at the solution; its gradient is implicit:
    dL/dz = (I + J)^-T dL/dx, itself a fixed point, so that no iterate is stored.

    Args:
        g: the residual branch ``g(x)`` or, given a context, ``g(x, context)``, with attribute ``lipschitz``,
            a bound below 1 on its constant in x.
        exact_dim: largest dimension whose log-determinant is exact.
        eval_exact_dim: the same in evaluation, where no gradient of it is needed; at least ``exact_dim``.
        estimator: of larger events: ``truncated`` or ``roulette``.
        gradient: ``series`` or ``neumann``.
        terms: of the series that are always summed, in training.
        eval_terms: the same in evaluation.
        count: distribution of N: ``geometric``, P(N >= m) = 2^-m, or ``poisson`` of mean 2.
        tolerance: of the inverse in float32: bound on the error of x, relative to max(1, largest |x_i|) of
            the row; scaled by the machine epsilon in other precisions (float64: 2e-9 times it). Ten times it
            is accepted where rounding in g alone keeps the iterates from coming to rest.
        most: iterations after which the inverse gives up.

    Attributes:
        last_iterations: of the latest inverse.
        last_residual: the relative change that its last iteration made.
        last_terms: of the series in the latest forward pass; 0 where it was exact.
    """

    def __init__(
        self,
        g: nn.Module,
        exact_dim: int = 8,
        eval_exact_dim: int = 64,
        estimator: Estimator = "truncated",
        gradient: Gradient = "series",
        terms: int = 5,
        eval_terms: int = 20,
        count: Count = "geometric",
        tolerance: float = 1e-5,
        most: int = 500,
    ) -> None:
        super().__init__()
        one_of(("truncated", "roulette"), estimator=estimator)
        one_of(("series", "neumann"), gradient=gradient)
        one_of(tuple(_SURVIVAL), count=count)
        self.g, self.estimator, self.gradient = g, estimator, gradient
        self.exact_dim, self.eval_exact_dim = exact_dim, max(exact_dim, eval_exact_dim)
        self.terms, self.eval_terms = terms, eval_terms
        self.tolerance, self.most = tolerance, most
        self.lipschitz = float(getattr(g, "lipschitz", math.nan))
        whole(1, terms=terms, eval_terms=eval_terms, most=most)
        whole(0, exact_dim=exact_dim, eval_exact_dim=eval_exact_dim)
        above(0, tolerance=tolerance)
        if not self.lipschitz < 1:
            raise ZooError(f"A residual block needs g.lipschitz below 1; got {self.lipschitz:g}.")
        # P(N >= m) for m = 1, 2, .., as far as the draw can tell it from 0
        chances = [_SURVIVAL[count](m) for m in range(1, 64)] if estimator == "roulette" else []
        self._survival = tuple(chance for chance in chances if chance >= RESOLUTION)
        self.last_iterations, self.last_residual, self.last_terms = 0, 0.0, 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if len(x) == 0:
            return x, zeros(x)
        keep = torch.is_grad_enabled()
        exact = x[0].numel() <= (self.exact_dim if self.training else self.eval_exact_dim)
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
        """The inverse without its log-determinant: what sampling needs.

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

    def is_exact(self, dim: int) -> bool:
        """Whether the log-determinant of events of ``dim`` dimensions is exact in evaluation."""
        return dim <= self.eval_exact_dim

    def bias_bound(self, dim: int) -> float:
        """Largest bias in nats of the evaluated log-determinant: D (-ln(1 - L) - sum_{k <= n} L^k / k).

        It follows from |tr(J^k)| <= D L^k, with n the terms that the estimator may reach; for the roulette
        these end where a term's chance is 2^-53, the resolution of the number that decides. 0 where exact.
        """
        if self.is_exact(dim):
            return 0.0
        reached = self.eval_terms + len(self._survival)
        kept = sum(self.lipschitz**k / k for k in range(1, reached + 1))
        return dim * max(0.0, -math.log1p(-self.lipschitz) - kept)

    def _forward(self, x: Tensor, context: Tensor | None, exact: bool, keep: bool) -> tuple[Tensor, Tensor]:
        if exact and x.ndim == 2 and hasattr(self.g, "linearise"):
            # in training with gradients even where none are wanted: spectral norms follow the weights then
            with torch.set_grad_enabled(keep or self.training):
                out, jacobian = self.g.linearise(x, context)  # type: ignore[operator]
                z, log_det = x + out, _log_det(jacobian)
            return (z, log_det) if keep else (z.detach(), log_det.detach())
        with torch.enable_grad():  # J is needed also where the caller wants no gradient
            # a view: hooks of x itself must not act on the products below
            point = x.view_as(x) if keep and x.requires_grad else x.detach().requires_grad_()
            out = self._branch(point, context)
            log_det = _exact(point, out, keep) if exact else self._series(point, out, keep)
        z = x + out
        return (z, log_det) if keep else (z.detach(), log_det.detach())

    def _branch(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.g(x) if context is None else self.g(x, context)

    def _series(self, x: Tensor, out: Tensor, keep: bool) -> Tensor:
        weights = self._weights(x)
        self.last_terms = len(weights)
        neumann = keep and self.gradient == "neumann"
        probe = rng.rademacher(x.detach())
        product, direction, log_det = probe, torch.zeros_like(probe), zeros(x)
        for k, weight in enumerate(weights, 1):
            signed = (-1) ** (k + 1) * weight
            if neumann:
                direction = direction + signed.view(-1, *[1] * (x.ndim - 1)).to(x.dtype) * product
            (product,) = torch.autograd.grad(
                out, x, product, create_graph=keep and not neumann, retain_graph=True
            )
            log_det = log_det + signed / k * sum_event(product * probe)
        if neumann:
            (product,) = torch.autograd.grad(out, x, direction, create_graph=True)
            surrogate = sum_event(product * probe)  # its gradient counts, its value does not
            log_det = log_det + (surrogate - surrogate.detach())
        return log_det

    def _weights(self, x: Tensor) -> list[Tensor]:
        """The factor of each term of the series, ``(1,)`` or ``(B,)``."""
        fixed = self.terms if self.training else self.eval_terms
        weights = [zeros(x[:1]) + 1] * fixed
        if self.estimator == "truncated":
            return weights
        wide = torch.float64 if x.device.type != "mps" else torch.float32
        survival = torch.tensor(self._survival, dtype=wide, device=x.device)
        extra = (rng.uniform(torch.empty(len(x), 1, dtype=wide, device=x.device)) < survival).sum(1)
        extra = extra[:1] if self.training else extra
        for m in range(1, int(extra.max()) + 1):
            weights.append(((extra >= m) / survival[m - 1]).to(weights[0].dtype))
        return weights

    def _fixed_point(
        self, step: Callable[[Tensor], Tensor], start: Tensor, scale: float = 1.0
    ) -> tuple[Tensor, int, float]:
        """Iterate a contraction of factor L until every row is within the tolerance of the solution.

        Returns:
            the solution, the iterations made, and the relative change of the last.
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
            due = (change if iteration == 1 else due) * self.lipschitz  # what it would be without rounding
            if change <= stop or (due <= stop and change <= hidden):
                break
            if iteration == self.most or not math.isfinite(change):
                raise Unsound(
                    f"A residual block's inverse did not converge in {iteration} iterations (change "
                    f"{change:.1e}, sought {stop:.1e}); lower model.coefficient or raise model.tolerance."
                )
        return x, iteration, change


def _exact(x: Tensor, out: Tensor, keep: bool) -> Tensor:
    """log|det(I + dout/dx)|, ``(B,)``, from the whole Jacobian."""
    dim = x[0].numel()
    if x.ndim == 2 and not keep:  # small products: one batch of them is the fastest (convolutions: it is not)
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
    """log|det(I + J)|, ``(B,)``, of ``(B, D, D)``."""
    jacobian = jacobian.to(torch.promote_types(jacobian.dtype, torch.float32))
    unit = torch.eye(jacobian.shape[1], dtype=jacobian.dtype, device=jacobian.device)
    return torch.linalg.slogdet(jacobian + unit)[1]


def _poisson_survival(m: int, mean: float = 2.0) -> float:
    """P(N >= m), summed from its small end, where a difference from 1 would round to nothing."""
    return math.exp(-mean) * sum(mean**k / math.factorial(k) for k in reversed(range(m, m + 60)))


_SURVIVAL: dict[str, Callable[[int], float]] = {
    "geometric": lambda m: 2.0**-m,
    "poisson": _poisson_survival,
}
