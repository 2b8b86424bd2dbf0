"""The continuous flow: data becomes latent along the solution of an ODE."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo.checks import above, at_least, switch, whole
from zoo.errors import Diverged, Unsound, ZooError
from zoo.models.bijections.base import Bijection, usable, zeros
from zoo.models.core import rng

FIXED = ("euler", "midpoint", "rk4")
MOST_STEPS = 2000  # a field that needs more is lost: better one sentence than a run that never ends

Trace = Literal["hutchinson", "exact"]
Probe = Literal["rademacher", "gaussian"]


class ContinuousFlow(Bijection):
    """z = x(1) with dx/dt = v(t, x) and x(0) the data; log|det dz/dx| = integral of tr(dv/dx) over [0, 1].

    Chen et al. 2018, eq. 8; Grathwohl et al. 2019, eq. 4 and 8. The state and its log-determinant are one
    ODE for torchdiffeq, which is made to stop at 0 and 1, so that the field is never asked for a time
    outside. The inverse is the same ODE from 1 to 0.

    The trace is exact (the field's closed form ``divergence`` where it has one, or D vector-Jacobian
    products), or Hutchinson's estimate e^T (dv/dx) e with one probe e for each row, drawn once a solve: along
    a fixed probe the estimate is a smooth function of time. Log-dets of forward and inverse cancel only under
    one noise key: with probes of their own each is unbiased and their sum is not zero.

    Two penalties on the way from data to latents make training's ODE cheap to solve (Finlay et al. 2020,
    arXiv:2002.02798, eq. 8-9). They are integrated along the same solve and, in training mode only, taken off
    the log-determinant that ``forward`` returns, so that maximum likelihood maximises the penalised value.

    The ODE leaves autocast: no step meets a tolerance that rounding hides.

    In evaluation the error of the worst row, not the mean over the batch, meets the tolerance: an example's
    density is as accurate in a batch as alone.

    Args:
        field: ``v(t, x)`` or, given a context, ``v(t, x, context)``; it does not mix rows.
        solver: of torchdiffeq: ``dopri5``, or a fixed-step one (``euler``, ``midpoint``, ``rk4``).
        steps: of a fixed-step solver.
        atol: absolute tolerance of a step of dopri5, in units of the state and in nats.
        rtol: relative tolerance.
        train_tolerance: both tolerances in training, where gradients need less; None: the same.
        exact_dim: events of at most this many dimensions get the exact trace in evaluation.
        train_trace: the trace in training, ``hutchinson`` or ``exact``.
        adjoint: gradients by the adjoint ODE (memory flat in the steps) instead of back-propagation.
        probe: of Hutchinson's estimate, ``rademacher`` or ``gaussian``.
        kinetic: weight of the penalty int |v|^2 dt, in nats.
        jacobian: weight of the penalty int |dv/dx|_F^2 dt, estimated by |e^T dv/dx|^2, in nats.

    Attributes:
        last_evaluations: evaluations of the field in the latest solve.
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
        train_trace: Trace = "hutchinson",
        adjoint: bool = False,
        probe: Probe = "rademacher",
        kinetic: float = 0.0,
        jacobian: float = 0.0,
    ) -> None:
        super().__init__()
        if solver not in ("dopri5", *FIXED):
            raise ZooError(f"model.solver is dopri5, {', '.join(FIXED[:-1])} or {FIXED[-1]}; got '{solver}'.")
        if train_trace not in ("hutchinson", "exact"):
            raise ZooError(f"model.train_trace is hutchinson or exact; got '{train_trace}'.")
        if probe not in ("rademacher", "gaussian"):
            raise ZooError(f"model.probe is rademacher or gaussian; got '{probe}'.")
        at_least(0, kinetic=kinetic, jacobian=jacobian)
        whole(1, steps=steps)
        whole(0, exact_dim=exact_dim)
        switch(adjoint=adjoint)
        above(0, atol=atol, rtol=rtol, train_tolerance=train_tolerance)
        self.field, self.solver, self.steps = field, solver, steps
        self.atol, self.rtol, self.train_tolerance = atol, rtol, train_tolerance
        self.exact_dim, self.train_trace, self.adjoint = exact_dim, train_trace, adjoint
        self.probe, self.kinetic, self.jacobian = probe, kinetic, jacobian
        self.last_evaluations = 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._with_log_det(x, context, 0.0, 1.0, penalise=self.training)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._with_log_det(z, context, 1.0, 0.0)

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.transport(z, context)

    def transport(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Latent to data without the log-determinant: what sampling needs."""
        return self.path(z, (1.0, 0.0), context)[-1]

    def path(self, start: Tensor, times: Sequence[float], context: Tensor | None = None) -> list[Tensor]:
        """The solution from ``start`` at the first of several times (falling or rising) at all of them."""
        points = [start]
        for begin, end in itertools.pairwise(times):
            points += self._solve(
                lambda t, state: (self._velocity(t, state[0], context),), (points[-1],), begin, end, context
            )
        return points

    def trace(self, dim: int, training: bool = False) -> Trace:
        """The trace of events of ``dim`` dimensions."""
        if self.closed_form:
            return "exact"
        if training:
            return self.train_trace
        return "exact" if dim <= self.exact_dim else "hutchinson"

    @property
    def closed_form(self) -> bool:
        """Whether the field gives its divergence in closed form."""
        return bool(getattr(self.field, "closed_form", False))

    def _with_log_det(
        self, x: Tensor, context: Tensor | None, start: float, end: float, penalise: bool = False
    ) -> tuple[Tensor, Tensor]:
        if len(x) == 0:
            return x, zeros(x)
        keep = torch.is_grad_enabled()
        # the divergence needs autograd even where the caller has switched it off, inference mode included
        with torch.inference_mode(False), torch.set_grad_enabled(keep):
            x, context = usable(x), usable(context)
            exact = self.trace(x[0].numel(), self.training) == "exact"
            kinetic, jacobian = (self.kinetic, self.jacobian) if penalise else (0.0, 0.0)
            draw = rng.rademacher if self.probe == "rademacher" else rng.normal
            probe = None if exact and not jacobian else draw(x)

            def dynamics(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                live = torch.is_grad_enabled()  # the adjoint's way forward keeps no graph, its way back does
                with torch.enable_grad():
                    point = state[0]
                    if not (live and point.requires_grad):
                        point = point.detach().requires_grad_()
                    if self.closed_form:
                        self.last_evaluations += 1
                        velocity, trace = self.field.divergence(t, point, context)  # type: ignore[operator]
                    else:
                        velocity = self._velocity(t, point, context)
                    penalty = kinetic * velocity.square().flatten(1).sum(1)
                    if probe is not None:
                        (product,) = torch.autograd.grad(
                            velocity, point, probe, create_graph=live, retain_graph=True
                        )
                        penalty = penalty + jacobian * product.square().flatten(1).sum(1)
                        if not exact:
                            trace = (product * probe).flatten(1).sum(1)
                    if exact and not self.closed_form:
                        trace = _exact_trace(velocity, point, live)
                    change = (velocity, trace, penalty) if kinetic or jacobian else (velocity, trace)
                return change if live else tuple(part.detach() for part in change)

            start_at = (x, *[zeros(x).to(x.dtype)] * (2 if kinetic or jacobian else 1))
            z, log_det, *penalties = self._solve(dynamics, start_at, start, end, context)
            for penalty in penalties:
                log_det = log_det - penalty
        return z, log_det.to(torch.promote_types(log_det.dtype, torch.float32))

    def _velocity(self, t: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        self.last_evaluations += 1
        return self.field(t, x) if context is None else self.field(t, x, context)

    def _solve(
        self,
        dynamics: Callable[..., tuple[Tensor, ...]],
        state: tuple[Tensor, ...],
        start: float,
        end: float,
        context: Tensor | None,
    ) -> tuple[Tensor, ...]:
        self.last_evaluations = 0
        if len(state[0]) == 0:
            return state
        with torch.autocast(state[0].device.type, enabled=False):
            return self._solve_in_full_precision(dynamics, state, start, end, context)

    def _solve_in_full_precision(
        self,
        dynamics: Callable[..., tuple[Tensor, ...]],
        state: tuple[Tensor, ...],
        start: float,
        end: float,
        context: Tensor | None,
    ) -> tuple[Tensor, ...]:
        from torchdiffeq import odeint, odeint_adjoint

        time = torch.tensor([start, end], dtype=state[0].dtype, device=state[0].device)
        settings: dict[str, Any] = {"method": self.solver, "options": self._options(time)}
        if self.solver not in FIXED:
            loose = self.train_tolerance if self.training else None
            settings |= {"atol": loose or self.atol, "rtol": loose or self.rtol}
        try:
            if self.adjoint and torch.is_grad_enabled():
                # all that the dynamics hold besides the state: what is not named here gets no gradient
                held = (*self.field.parameters(), *(() if context is None else (context,)))
                named = tuple(tensor for tensor in held if tensor.requires_grad)
                back = {k: v for k, v in settings["options"].items() if k != "norm"}
                if "step_t" in back and start > end:
                    back["step_t"] = -time  # torchdiffeq negates a decreasing time, but not for the adjoint
                solution = odeint_adjoint(
                    dynamics, state, time, adjoint_params=named, adjoint_options=back, **settings
                )
            else:
                solution = odeint(dynamics, state, time, **settings)
        except AssertionError as error:  # how torchdiffeq reports that it gives up
            if "max_num_steps" in str(error):
                raise self._failure(f"takes more than {MOST_STEPS} steps") from None
            if "underflow" in str(error) or "non-finite" in str(error):
                raise self._failure("meets a value that is not finite, or steps too small to count") from None
            raise
        result = tuple(values[-1] for values in solution)
        if not all(bool(torch.isfinite(values).all()) for values in result):
            raise self._failure("ends in a value that is not finite")
        return result

    def _options(self, time: Tensor) -> dict[str, Any]:
        if self.solver in FIXED:

            def grid(_: Any, __: Any, t: Tensor) -> Tensor:
                # torchdiffeq's own grid, from a step size, gains a step by rounding
                return torch.cat(
                    [torch.linspace(0, 1, self.steps + 1).to(t)[:-1] * (t[-1] - t[0]) + t[0], t[-1:]]
                )

            return {"grid_constructor": grid}
        tolerance = (self.train_tolerance if self.training else None) or min(self.atol, self.rtol)
        options: dict[str, Any] = {
            # stops at both ends (the adjoint runs backwards), or dopri5 steps past and interpolates back
            "step_t": time,
            # a step whose error, of fifth order, is near the tolerance; torchdiffeq's own guess tries times
            # outside [0, 1]
            "first_step": min(0.5, tolerance**0.2),
            "max_num_steps": MOST_STEPS,
        }
        return options if self.training else options | {"norm": _worst_row}

    def _failure(self, what: str) -> ZooError:
        if self.training:
            return Diverged(f"The ODE of the continuous flow {what}; lower training.lr.")
        return Unsound(f"The ODE of the continuous flow {what}; loosen model.atol and model.rtol or retrain.")

    def extra_repr(self) -> str:
        return f"solver={self.solver}, atol={self.atol:g}, rtol={self.rtol:g}, steps={self.steps}"


def _worst_row(state: tuple[Tensor, ...]) -> Tensor:
    """Largest root mean square of a row, over the parts of the state."""
    worst = [part.reshape(len(part), -1).square().mean(1).max() for part in state]
    return torch.stack(worst).max().sqrt()


def _exact_trace(velocity: Tensor, x: Tensor, keep: bool) -> Tensor:
    """tr(dv/dx) by one product with each unit vector, ``(B,)``."""
    dim = velocity[0].numel()
    units = torch.eye(dim, dtype=x.dtype, device=x.device).view(dim, 1, *x.shape[1:]).expand(dim, *x.shape)
    (rows,) = torch.autograd.grad(velocity, x, units, create_graph=keep, is_grads_batched=True)
    return torch.einsum("ibi->b", rows.flatten(2))
