"""The continuous flow: data becomes latent along the solution of an ODE."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo.checks import NotNegative, NotNegativeFloat, Positive, PositiveFloat, settings
from zoo.errors import Diverged, Unsound, ZooError
from zoo.models.bijections.base import Bijection, usable, zeros
from zoo.models.core import rng
from zoo.models.networks.vector_field import HasExactDivergence

MOST_STEPS = 2000  # a solve that needs more steps is an error

Method = Literal["dopri5", "euler", "midpoint", "rk4"]
Trace = Literal["hutchinson", "exact"]
Probe = Literal["rademacher", "gaussian"]


@settings
class Solver:
    """The settings of a continuous flow's ODE solver and of the trace of its field's Jacobian.

    Attributes:
        method: method of torchdiffeq: ``dopri5`` (adaptive steps), or ``euler``, ``midpoint`` or ``rk4``
            (fixed steps).
        steps: number of steps of a fixed-step method.
        atol: absolute tolerance of a step of dopri5, in units of the state and in nats.
        rtol: relative tolerance of a step of dopri5.
        train_tolerance: both tolerances in training, where gradients need less accuracy; None for ``atol``
            and ``rtol`` in training too.
        exact_dim: largest number of dimensions for which the trace is exact in evaluation.
        train_trace: trace in training, ``hutchinson`` or ``exact``. A field that knows its divergence
            (:class:`~zoo.models.networks.vector_field.HasExactDivergence`) has an exact trace always, and
            needs neither.
        probe: distribution of the probe of Hutchinson's estimate, ``rademacher`` or ``gaussian``.
        adjoint: compute gradients by the adjoint ODE, whose memory does not grow with the number of steps,
            instead of by back-propagation through the solver.
    """

    method: Method = "dopri5"
    steps: Positive = 20
    atol: PositiveFloat = 1e-5
    rtol: PositiveFloat = 1e-5
    train_tolerance: PositiveFloat | None = None
    exact_dim: NotNegative = 8
    train_trace: Trace = "hutchinson"
    probe: Probe = "rademacher"
    adjoint: bool = False

    @property
    def adaptive(self) -> bool:
        """Whether the method chooses its own steps."""
        return self.method == "dopri5"


@settings
class Penalty:
    """Weights of two penalties that make the path cheap to solve (Finlay et al. 2020, eq. 8-9).

    Attributes:
        kinetic: weight of the integral of |v|^2 over time, in nats.
        jacobian: weight of the integral of |dv/dx|_F^2 over time, estimated by |e^T dv/dx|^2, in nats.
    """

    kinetic: NotNegativeFloat = 0.0
    jacobian: NotNegativeFloat = 0.0


class ContinuousFlow(Bijection):
    """The bijection z = x(1), where dx/dt = v(t, x) and x(0) is the data.

    log|det dz/dx| is the integral of tr(dv/dx) over [0, 1] (Chen et al. 2018, eq. 8; Grathwohl et al. 2019,
    eq. 4 and 8). torchdiffeq solves the state and its log-determinant as one ODE, with stops at 0 and 1, so
    that the field is never evaluated outside; Euler's steps are taken here, with the same values. The inverse
    is the same ODE from 1 to 0.

    The trace is exact (by the field's ``divergence`` if it has one, else by D vector-Jacobian products), or
    Hutchinson's estimate e^T (dv/dx) e with one probe e for each row, drawn once per solve: for a fixed probe
    the estimate is a smooth function of time. The log-determinants of forward and inverse sum to zero only
    under the same noise key: with different probes each is unbiased, but their sum is not zero.

    The penalties are integrated along the same solve and, in training mode only, subtracted from the
    log-determinant that ``forward`` returns, so that maximum likelihood maximises the penalised value.

    The ODE is solved without autocast: rounding to half precision would hide the tolerance of a step. In
    evaluation the tolerance applies to the worst row, not to the mean over the batch, so the density of an
    example is as accurate in a batch as alone.

    Args:
        field: ``v(t, x)`` or, given a context, ``v(t, x, context)``; it does not mix rows.
        solver: method, tolerances and trace.
        penalty: weights of the penalties in training.

    Attributes:
        last_evaluations: number of evaluations of the field in the latest solve.
    """

    def __init__(self, field: nn.Module, solver: Solver = Solver(), penalty: Penalty = Penalty()) -> None:
        super().__init__()
        self.field, self.solver, self.penalty = field, solver, penalty
        self.last_evaluations = 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._with_log_det(x, context, 0.0, 1.0, penalise=self.training)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._with_log_det(z, context, 1.0, 0.0)

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.transport(z, context)

    def transport(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the data of latents, without the log-determinant."""
        return self.path(z, (1.0, 0.0), context)[-1]

    def path(self, start: Tensor, times: Sequence[float], context: Tensor | None = None) -> list[Tensor]:
        """Return the path's states at monotone ``times``, with the state ``start`` at the first time."""
        points = [start]
        for begin, end in itertools.pairwise(times):
            points += self._solve(
                lambda t, state: (self._velocity(t, state[0], context),), (points[-1],), begin, end, context
            )
        return points

    def energy(self, start: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the integral of |v|^2 over the path from latents ``start`` to data, ``(B,)``.

        It is a part of the solve's state; with Euler's method it is the mean over the steps' first points.
        """

        def dynamics(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            velocity = self._velocity(t, state[0], context)
            return velocity, velocity.square().flatten(1).sum(1)

        return -self._solve(dynamics, (start, start.new_zeros(len(start))), 1.0, 0.0, context)[1]

    def trace(self, dim: int, training: bool = False) -> Trace:
        """Return how the trace of events of ``dim`` dimensions is computed."""
        if self.closed_form is not None:
            return "exact"
        if training:
            return self.solver.train_trace
        return "exact" if dim <= self.solver.exact_dim else "hutchinson"

    @property
    def closed_form(self) -> HasExactDivergence | None:
        """The field, if it computes its divergence in closed form; else None."""
        field = self.field
        return field if isinstance(field, HasExactDivergence) and field.has_exact_divergence else None

    def _with_log_det(
        self, x: Tensor, context: Tensor | None, start: float, end: float, penalise: bool = False
    ) -> tuple[Tensor, Tensor]:
        if len(x) == 0:
            return x, zeros(x)
        keep = torch.is_grad_enabled()
        # the divergence needs autograd even if the caller has disabled it
        with torch.inference_mode(False), torch.set_grad_enabled(keep):
            x, context = usable(x), usable(context)
            closed_form = self.closed_form
            exact = self.trace(x[0].numel(), self.training) == "exact"
            kinetic, jacobian = (self.penalty.kinetic, self.penalty.jacobian) if penalise else (0.0, 0.0)
            draw = rng.rademacher if self.solver.probe == "rademacher" else rng.normal
            probe = None if exact and not jacobian else draw(x)

            def dynamics(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                live = torch.is_grad_enabled()  # the adjoint's forward solve keeps no graph
                with torch.enable_grad():
                    point = state[0]
                    if not (live and point.requires_grad):
                        point = point.detach().requires_grad_()
                    if closed_form is not None:
                        self.last_evaluations += 1
                        velocity, trace = closed_form.divergence(t, point, context)
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
                    if exact and closed_form is None:
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
        time = torch.tensor([start, end], dtype=state[0].dtype, device=state[0].device)
        adjoint = self.solver.adjoint and torch.is_grad_enabled()
        if self.solver.method == "euler" and not adjoint:
            return self._finite(self._euler(dynamics, state, time))
        from torchdiffeq import odeint, odeint_adjoint

        arguments: dict[str, Any] = {"method": self.solver.method, "options": self._options(time)}
        if self.solver.adaptive:
            loose = self.solver.train_tolerance if self.training else None
            arguments |= {"atol": loose or self.solver.atol, "rtol": loose or self.solver.rtol}
        # torchdiffeq joins the parts of a tuple and divides them again at each evaluation
        alone = len(state) == 1
        begin: Any = state[0] if alone else state
        change = (lambda t, x: dynamics(t, (x,))[0]) if alone else dynamics
        try:
            if adjoint:
                # the adjoint only computes gradients of the tensors listed here
                held = (*self.field.parameters(), *(() if context is None else (context,)))
                named = tuple(tensor for tensor in held if tensor.requires_grad)
                back = {k: v for k, v in arguments["options"].items() if k != "norm"}
                if "step_t" in back and start > end:
                    back["step_t"] = -time  # torchdiffeq negates a decreasing time, but not for the adjoint
                solution = odeint_adjoint(
                    change, begin, time, adjoint_params=named, adjoint_options=back, **arguments
                )
            else:
                solution = odeint(change, begin, time, **arguments)
        except AssertionError as error:  # torchdiffeq signals failure by an assertion
            if "max_num_steps" in str(error):
                raise self._failure(f"takes more than {MOST_STEPS} steps") from None
            if "underflow" in str(error) or "non-finite" in str(error):
                raise self._failure("meets a value that is not finite, or steps too small to count") from None
            raise
        return self._finite(tuple(values[-1] for values in ([solution] if alone else solution)))

    def _euler(
        self, dynamics: Callable[..., tuple[Tensor, ...]], state: tuple[Tensor, ...], time: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the state after Euler's steps, exactly as torchdiffeq does, with fewer operations a step."""
        grid = self._grid(time)
        for t, step in zip(grid[:-1].unbind(), grid.diff().unbind(), strict=True):
            changes = dynamics(t, state)
            state = tuple(part + step * change for part, change in zip(state, changes, strict=True))
        return state

    def _finite(self, result: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not bool(torch.stack([torch.isfinite(values).all() for values in result]).all()):
            raise self._failure("ends in a value that is not finite")
        return result

    def _options(self, time: Tensor) -> dict[str, Any]:
        if not self.solver.adaptive:
            # torchdiffeq's grid from a step size may gain a step by rounding
            return {"grid_constructor": lambda _, __, t: self._grid(t)}
        tolerance = self.solver.train_tolerance if self.training else None
        tolerance = tolerance or min(self.solver.atol, self.solver.rtol)
        options: dict[str, Any] = {
            # stop at both ends (the adjoint runs backwards); else dopri5 steps past and interpolates back
            "step_t": time,
            # a step whose error, of fifth order, is near the tolerance; the first step that torchdiffeq would
            # guess evaluates the field at times outside [0, 1]
            "first_step": min(0.5, tolerance**0.2),
            "max_num_steps": MOST_STEPS,
        }
        return options if self.training else options | {"norm": _worst_row}

    def _grid(self, time: Tensor) -> Tensor:
        """Return the times of a fixed-step method's steps, from the first of ``time`` to the last."""
        shares = torch.linspace(0, 1, self.solver.steps + 1).to(time)[:-1]
        return torch.cat([shares * (time[-1] - time[0]) + time[0], time[-1:]])

    def _failure(self, what: str) -> ZooError:
        if self.training:
            return Diverged(f"The ODE of the continuous flow {what}; lower training.lr.")
        return Unsound(
            f"The ODE of the continuous flow {what}; loosen model.solver.atol and model.solver.rtol or train "
            "again."
        )

    def extra_repr(self) -> str:
        return f"{self.solver}"


def _worst_row(state: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the largest root mean square of a row, over all parts of the state."""
    state = (state,) if isinstance(state, Tensor) else state
    worst = [part.reshape(len(part), -1).square().mean(1).max() for part in state]
    return torch.stack(worst).max().sqrt()


def _exact_trace(velocity: Tensor, x: Tensor, keep: bool) -> Tensor:
    """Return tr(dv/dx), ``(B,)``, by one vector-Jacobian product with each unit vector."""
    dim = velocity[0].numel()
    units = torch.eye(dim, dtype=x.dtype, device=x.device).view(dim, 1, *x.shape[1:]).expand(dim, *x.shape)
    (rows,) = torch.autograd.grad(velocity, x, units, create_graph=keep, is_grads_batched=True)
    return torch.einsum("ibi->b", rows.flatten(2))
