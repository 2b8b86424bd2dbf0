"""The invertible residual block."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models import noise
from zoo.models.bijections.base import Bijection, zeros

FLOOR = 10  # machine epsilons below which rounding in g hides any further progress of the fixed point


class InvertibleResidual(Bijection):
    """z = x + g(x) with Lip(g) = L < 1; the inverse is the fixed point of x = z - g(x).

    Behrmann et al. 2019 (arXiv:1811.00995), theorem 1, eq. 4 and algorithms 1-2. With J = dg/dx,
    log|det dz/dx| = tr ln(I + J) = sum_{k >= 1} (-1)^{k+1} tr(J^k) / k, in nats; the series is cut after
    ``terms`` and tr(J^k) estimated by Hutchinson's e^T J^k e, with one Rademacher probe e for each row and
    all k. Events of at most ``exact_dim`` dimensions get the exact value, from the whole Jacobian. The
    log-determinant is that of the map itself in either mode, and carries gradients for each row.

    The inverse's log-determinant is minus the forward one at the solution; its gradient is implicit:
    dL/dz = (I + J)^-T dL/dx, itself a fixed point, so that no iterate is stored.

    Args:
        g: the residual branch, with attribute ``lipschitz``, a bound below 1 on its constant.
        exact_dim: largest dimension whose log-determinant is exact.
        terms: of the series, in training.
        eval_terms: of the series, in evaluation.
        tolerance: of the inverse in float32: bound on the error of x, relative to max(1, largest |x_i|) of
            the row; scaled by the machine epsilon in other precisions (float64: 2e-9 times it).
        most: iterations after which the inverse gives up.

    Attributes:
        last_iterations: of the latest inverse.
        last_residual: the relative change that its last iteration made.
    """

    def __init__(
        self,
        g: nn.Module,
        exact_dim: int = 8,
        terms: int = 5,
        eval_terms: int = 20,
        tolerance: float = 1e-5,
        most: int = 500,
    ) -> None:
        super().__init__()
        self.g, self.exact_dim, self.terms, self.eval_terms = g, exact_dim, terms, eval_terms
        self.tolerance, self.most = tolerance, most
        self.lipschitz = float(getattr(g, "lipschitz", math.nan))
        if min(terms, eval_terms, most) < 1 or not self.lipschitz < 1:
            raise ZooError(
                "A residual block needs at least one term and iteration, and g.lipschitz below 1; "
                f"got {terms}, {eval_terms}, {most} and {self.lipschitz:g}."
            )
        self.last_iterations, self.last_residual = 0, 0.0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        keep = torch.is_grad_enabled()
        with torch.enable_grad():  # J is needed also where the caller wants no gradient
            # a view: hooks of x itself must not act on the products below
            point = x.view_as(x) if keep and x.requires_grad else x.detach().requires_grad_()
            out = self.g(point)
            exact = point[0].numel() <= self.exact_dim if len(x) else False
            log_det = self._exact(point, out, keep) if exact else self._series(point, out, keep)
        z = x + out
        return (z, log_det) if keep else (z.detach(), log_det.detach())

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.invert(z)
        return x, -self.forward(x)[1]

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The inverse without its log-determinant: what sampling needs.

        Raises:
            ZooError: no convergence within ``most`` iterations.
        """
        with torch.no_grad():
            solution, self.last_iterations, self.last_residual = self._fixed_point(lambda x: z - self.g(x), z)
        if not torch.is_grad_enabled():
            return solution
        point = solution.requires_grad_()
        out = self.g(point)
        x = z - out

        def implicit(grad: Tensor) -> Tensor:
            def transposed(v: Tensor) -> Tensor:
                return grad - torch.autograd.grad(out, point, v, retain_graph=True)[0]

            return self._fixed_point(transposed, grad, scale=float(grad.abs().max()))[0]

        x.register_hook(implicit)
        return x

    def bias_bound(self, dim: int) -> float:
        """Largest bias in nats of the evaluated log-determinant: D (-ln(1 - L) - sum_{k <= n} L^k / k).

        It follows from |tr(J^k)| <= D L^k; 0 where the log-determinant is exact.
        """
        if dim <= self.exact_dim:
            return 0.0
        kept = sum(self.lipschitz**k / k for k in range(1, self.eval_terms + 1))
        return dim * (-math.log1p(-self.lipschitz) - kept)

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
        smallest = max(scale, torch.finfo(start.dtype).tiny)
        x, iteration, change = start.detach().clone(), 0, 0.0
        while x.numel():
            following = step(x)
            size = following.abs().flatten(1).amax(1).clamp(min=smallest)
            change = float(((following - x).abs().flatten(1).amax(1) / size).max())
            x, iteration = following, iteration + 1
            if change <= stop:
                break
            if iteration == self.most or not math.isfinite(change):
                raise ZooError(
                    f"A residual block's inverse did not converge in {iteration} iterations (change "
                    f"{change:.1e}, sought {stop:.1e}); lower model.coefficient or raise model.tolerance."
                )
        return x, iteration, change

    def _exact(self, x: Tensor, out: Tensor, keep: bool) -> Tensor:
        flat = out.flatten(1)
        rows = [
            torch.autograd.grad(flat[:, i].sum(), x, create_graph=keep, retain_graph=True)[0].flatten(1)
            for i in range(flat.shape[1])
        ]
        jacobian = torch.stack(rows, 1)
        jacobian = jacobian.to(torch.promote_types(x.dtype, torch.float32))
        return torch.linalg.slogdet(jacobian + torch.eye(len(rows)).to(jacobian))[1]

    def _series(self, x: Tensor, out: Tensor, keep: bool) -> Tensor:
        probe = noise.rademacher(x.detach())
        product, log_det = probe, zeros(x)
        for k in range(1, (self.terms if self.training else self.eval_terms) + 1):
            (product,) = torch.autograd.grad(out, x, product, create_graph=keep, retain_graph=True)
            log_det = log_det + (-1) ** (k + 1) / k * (product * probe).flatten(1).sum(1)
        return log_det
