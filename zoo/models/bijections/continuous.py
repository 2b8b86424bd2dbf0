"""The continuous flow: data becomes latent along the solution of an ODE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo.errors import Diverged, ZooError
from zoo.models import noise
from zoo.models.bijections.base import Bijection, zeros

FIXED = ("euler", "midpoint", "rk4")


class ContinuousFlow(Bijection):
    """z = x(1) with dx/dt = v(t, x), x(0) the data; log|det| = integral of tr(dv/dx) from 0 to 1.

    Chen et al. 2018, eq. 8; Grathwohl et al. 2019, eq. 4 and 8. The state and its log-determinant are
    integrated together by torchdiffeq, in [0, 1] and never beyond. The trace is exact (D products) or
    Hutchinson's estimate e^T (dv/dx) e, with one Rademacher probe e for each row, drawn once a solve.

    Args:
        field: ``v(t, x)``.
        solver: of torchdiffeq: ``dopri5``, or a fixed-step one (``euler``, ``midpoint``, ``rk4``).
        steps: of a fixed-step solver.
        atol: absolute tolerance of an adaptive solver.
        rtol: relative tolerance.
        train_tolerance: both tolerances in training, where gradients need less; None: the same.
        exact_dim: events of at most this many dimensions get the exact trace in evaluation.
        train_trace: the trace in training, ``hutchinson`` or ``exact``.
        adjoint: gradients by the adjoint ODE (memory flat in the steps) instead of back-propagation.
    """

    def __init__(
        self,
        field: nn.Module,
        *,
        solver: str = "dopri5",
        steps: int = 20,
        atol: float = 1e-5,
        rtol: float = 1e-5,
        train_tolerance: float | None = None,
        exact_dim: int = 8,
        train_trace: Literal["hutchinson", "exact"] = "hutchinson",
        adjoint: bool = False,
    ) -> None:
        super().__init__()
        if solver not in ("dopri5", *FIXED):
            raise ZooError(f"A continuous flow is solved by dopri5, {', '.join(FIXED)}; got '{solver}'.")
        self.field, self.solver, self.steps = field, solver, steps
        self.atol, self.rtol, self.train_tolerance = atol, rtol, train_tolerance
        self.exact_dim, self.train_trace, self.adjoint = exact_dim, train_trace, adjoint
        self.last_evaluations = 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._with_log_det(x, 0.0, 1.0)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._with_log_det(z, 1.0, 0.0)

    def transport(self, z: Tensor) -> Tensor:
        """Latent to data without the log-determinant: what sampling needs."""
        return self._solve(lambda t, state: (self._velocity(t, state[0]),), (z,), 1.0, 0.0)[0]

    def uses_exact_trace(self, dim: int) -> bool:
        """Whether the trace is exact for events of ``dim`` dimensions, in the present mode."""
        return self.train_trace == "exact" if self.training else dim <= self.exact_dim

    def _with_log_det(self, x: Tensor, start: float, end: float) -> tuple[Tensor, Tensor]:
        exact = self.uses_exact_trace(x[0].numel())
        probe = None if exact else noise.rademacher(x)
        keep = torch.is_grad_enabled()

        def dynamics(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                point = state[0] if keep and state[0].requires_grad else state[0].detach().requires_grad_()
                velocity = self._velocity(t, point)
                trace = (
                    _exact_trace(velocity, point, keep)
                    if probe is None
                    else _dot(velocity, point, probe, keep)
                )
            return (velocity, trace) if keep else (velocity.detach(), trace.detach())

        z, log_det = self._solve(dynamics, (x, zeros(x).to(x.dtype)), start, end)
        return z, log_det.to(torch.promote_types(log_det.dtype, torch.float32))

    def _velocity(self, t: Tensor, x: Tensor) -> Tensor:
        self.last_evaluations += 1
        return self.field(t, x)

    def _solve(
        self, dynamics: Callable[..., tuple[Tensor, ...]], state: tuple[Tensor, ...], start: float, end: float
    ) -> tuple[Tensor, ...]:
        from torchdiffeq import odeint, odeint_adjoint

        self.last_evaluations = 0
        time = torch.tensor([start, end], dtype=state[0].dtype, device=state[0].device)
        settings: dict[str, Any] = {"method": self.solver}
        if self.solver in FIXED:
            settings["options"] = {"step_size": 1 / self.steps}
        else:
            loose = self.train_tolerance if self.training else None
            settings |= {"atol": loose or self.atol, "rtol": loose or self.rtol}
            # a stop at the end keeps the solver from stepping past it and interpolating back
            settings["options"] = {"step_t": time[1:], "dtype": torch.float64}
        try:
            if self.adjoint and torch.is_grad_enabled():
                solution = odeint_adjoint(
                    dynamics, state, time, adjoint_params=tuple(self.field.parameters()), **settings
                )
            else:
                solution = odeint(dynamics, state, time, **settings)
        except AssertionError as error:
            kind = Diverged if self.training else ZooError
            raise kind(
                f"The ODE solver gave up ({error}); lower training.lr or loosen the tolerance."
            ) from error
        return tuple(values[-1] for values in solution)

    def extra_repr(self) -> str:
        return f"solver={self.solver}, atol={self.atol:g}, rtol={self.rtol:g}, steps={self.steps}"


def _exact_trace(velocity: Tensor, x: Tensor, keep: bool) -> Tensor:
    """tr(dv/dx) by one backward pass for each dimension, ``(B,)``."""
    flat, trace = velocity.flatten(1), velocity.new_zeros(len(x))
    for i in range(flat.shape[1]):
        (row,) = torch.autograd.grad(flat[:, i].sum(), x, create_graph=keep, retain_graph=True)
        trace = trace + row.flatten(1)[:, i]
    return trace


def _dot(velocity: Tensor, x: Tensor, probe: Tensor, keep: bool) -> Tensor:
    """probe^T (dv/dx) probe, ``(B,)``."""
    (product,) = torch.autograd.grad(velocity, x, probe, create_graph=keep)
    return (product * probe).flatten(1).sum(1)
