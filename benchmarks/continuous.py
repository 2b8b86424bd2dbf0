"""Continuous flows: the trace in closed form against D products, Hutchinson's estimate, zuko, torchdiffeq.

One field (two hidden layers, the same weights for all) and one tolerance. ``closed``, ``brute`` and
``hutchinson`` are zoo's three traces; ``zuko`` integrates the same field by its free-form Jacobian transform
with its exact trace, ``torchdiffeq`` by the dynamics that its users write: D vector-Jacobian products, direct
back-propagation, default options. Density without gradients and one training step (forward and backward);
ratios are closed by the other's time, below 1 is faster. Function evaluations are counted on the way to the
latents, and errors of the log-determinant are against a solution in float64 at 1e-10: the largest of the
batch, in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from common import medians, write
from torch import Tensor, nn

from zoo.models.bijections.continuous import ContinuousFlow, Solver
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.vector_field import DenseField

DIMS, HIDDEN, BATCH, TOLERANCE = (2, 8, 43), (64, 64), 256, 1e-5
Map = Callable[[Tensor], tuple[Tensor, Tensor]]


class Opaque(nn.Module):
    """A field whose divergence is not known in closed form."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.field(t, x)


def make_field(dim: int) -> DenseField:
    """Return a field without parts that are near zero or linear."""
    torch.manual_seed(0)
    field = DenseField(dim, HIDDEN)
    for parameter in field.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return field


def torchdiffeq_brute_force(field: nn.Module) -> Map:
    from torchdiffeq import odeint

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        keep = torch.is_grad_enabled()

        def dynamics(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                point = state[0] if state[0].requires_grad else state[0].detach().requires_grad_()
                velocity = field(t, point)
                trace = torch.zeros(len(x))
                for i in range(x.shape[1]):
                    (row,) = torch.autograd.grad(
                        velocity[:, i].sum(), point, create_graph=keep, retain_graph=True
                    )
                    trace = trace + row[:, i]
            return (velocity, trace) if keep else (velocity.detach(), trace.detach())

        time = torch.tensor([0.0, 1.0])
        z, log_det = odeint(dynamics, (x, torch.zeros(len(x))), time, atol=TOLERANCE, rtol=TOLERANCE)
        return z[-1], log_det[-1]

    return run


def zuko_exact(field: nn.Module) -> Map:
    from zuko.transforms import FreeFormJacobianTransform

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        weights = field.parameters() if torch.is_grad_enabled() else ()
        transform = FreeFormJacobianTransform(field, phi=weights, atol=TOLERANCE, rtol=TOLERANCE)
        return transform.call_and_ladj(x)

    return run


def contestants(field: DenseField, dim: int) -> tuple[dict[str, Map], list[nn.Module]]:
    solver = Solver(atol=TOLERANCE, rtol=TOLERANCE)
    flows = {
        "closed": ContinuousFlow(field, solver),
        "brute": ContinuousFlow(Opaque(field), replace(solver, exact_dim=dim, train_trace="exact")),
        "hutchinson": ContinuousFlow(Opaque(field), replace(solver, exact_dim=0)),
    }
    peers = {"zuko": zuko_exact(field), "torchdiffeq": torchdiffeq_brute_force(field)}
    return {**flows, **peers}, list(flows.values())


def density(run: Map, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad(), rng.keyed(rng.keys(0, count=len(x))):
        return run(x)


def step(run: Map, field: nn.Module, x: Tensor) -> None:
    field.zero_grad()
    with rng.keyed(rng.keys(0, count=len(x))):
        z, log_det = run(x)
    (0.5 * z.square().sum(1) - log_det).mean().backward()


def density_jobs(runs: dict[str, Map], x: Tensor) -> dict[str, Callable[[], object]]:
    return {name: lambda run=run: density(run, x) for name, run in runs.items()}


def training_jobs(runs: dict[str, Map], field: nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    return {name: lambda run=run: step(run, field, x) for name, run in runs.items()}


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for dim in DIMS:
        field, x = make_field(dim), torch.randn(BATCH, dim)
        runs, flows = contestants(field, dim)
        with torch.no_grad():
            exact = ContinuousFlow(make_field(dim).double(), Solver(atol=1e-10, rtol=1e-10)).eval()
            truth = exact(x.double())[1]
        for job in ("density", "train"):
            for flow in flows:
                flow.train(job == "train")
            work = density_jobs(runs, x) if job == "density" else training_jobs(runs, field, x)
            seconds = medians(work, 5, 12.0)
            for name, run in runs.items():
                with count_nfe() as counter:
                    log_det = density(run, x)[1]
                row = {
                    "dim": dim,
                    "job": job,
                    "trace": name,
                    "seconds": round(seconds[name], 5),
                    "closed_by_this": round(seconds["closed"] / seconds[name], 3),
                    "evaluations": counter.count,
                    "log_det_error": float(f"{(log_det.double() - truth).abs().max().item():.1e}"),
                }
                rows.append(row)
                print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    about = "seconds of a batch; ratios are the closed form's time by this one's"
    print(write("continuous", rows, about=about, hidden=HIDDEN, batch=BATCH, tolerance=TOLERANCE))


if __name__ == "__main__":
    main()
