"""Diagnostics of flows: invertibility in floating point, and the error of estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.bijections.base import Chain, zeros
from zoo.models.bijections.continuous import ContinuousFlow
from zoo.models.bijections.residual import InvertibleResidual
from zoo.models.bijections.reversible import Reversible
from zoo.models.core import rng
from zoo.models.core.flops import count_flops
from zoo.models.core.model import mixture
from zoo.models.families.flow import Flow
from zoo.record import Metric

EXAMPLES = 8  # examples for invertibility
LARGEST_CROP = 192  # largest number of dimensions of a whole Jacobian
JACOBIANS = 2  # examples with a whole Jacobian; one if the data have more than LARGEST_CROP dimensions
ROWS = 192  # rows of a Jacobian that are computed at a time
MOST_OPERATIONS = {"cpu": 2e11, "cuda": 1e13}  # for all Jacobians: about ten seconds on one core
ITERATIONS = 20  # power iterations
PROBED = 16  # examples whose likelihood is estimated a second time
LOOSER = 10.0

Measured = tuple[float, dict[str, Any]]  # a value and its details


@torch.no_grad()
def report(model: nn.Module, x: Tensor, seed: int) -> dict[str, Metric]:
    """Return diagnostics of a flow, which do not rank models; an empty mapping for any other model.

    - ``invertibility/float32``: the largest abs(inverse(forward(x)) - x) over 8 examples and all dimensions,
      in levels or data units. Integers are dequantised first.
    - ``invertibility/bfloat16``: the same under autocast, as with ``trainer.precision=bf16-mixed``: products
      and convolutions in bfloat16, weights and the rest in float32. (With everything in bfloat16,
      neighbouring levels would coincide.) The detail ``latent_change`` is the largest change of a latent
      by autocast. A coupling may still invert exactly, since its network has the same input in both
      directions. Flows with ODEs disable autocast and have no such value; residual blocks disable it too.
    - ``log_det_error``: the largest difference, in nats over 2 examples, between the transform's
      log-determinant and log|det| of its whole Jacobian by autograd. It includes the noise of an estimated
      trace or series. With more than 192 dimensions it is measured on one example, and on the middle of the
      image (detail ``crop``) if the flow accepts images of that size, as convolutional flows do.
    - ``lipschitz``: see :func:`lipschitz`.

    A conditional model is conditioned on its first label. A diagnostic that cannot be computed is a metric
    without a value, with the reason.

    Args:
        model: in evaluation mode.
        x: test examples ``(N, *shape)`` in data space.
        seed: seed of the noise.
    """
    if not isinstance(model, Flow) or len(x) == 0:
        return {}
    parts: dict[str, Callable[[Flow, Tensor, Tensor | None], Measured]] = {"invertibility/float32": _error}
    if not any(isinstance(module, ContinuousFlow) for module in model.modules()):
        parts["invertibility/bfloat16"] = _error_in_bfloat16
    parts["log_det_error"] = _log_det_error
    if any(isinstance(module, InvertibleResidual) for module in model.modules()):
        parts["lipschitz"] = lipschitz
    levels = "levels" if model.spec.levels is not None else "data units"
    units = {"log_det_error": "nats", "lipschitz": "1"}
    numbers = {}
    for name, compute in parts.items():
        jacobians = JACOBIANS if model.spec.dim <= LARGEST_CROP else 1
        given = x[: jacobians if name == "log_det_error" else EXAMPLES]
        metric = numbers[name] = Metric(None, units.get(name, levels), direction="none", n=len(given))
        try:
            y, context, _ = _prepared(model, given, _labels(model)[0])
            with rng.keyed(rng.keys(seed, count=len(given), device=y.device)):
                value, metric.details = compute(model, y, context)
        except (
            ZooError,
            RuntimeError,
        ) as error:  # the second: an unsupported operation
            metric.reason = shorten(str(error), 240, placeholder=" ...") or type(error).__name__
            continue
        if math.isfinite(value):
            metric.value = value
        else:
            metric.reason = f"The value is {value}, not a finite number."
    return numbers


def _labels(model: Flow) -> list[int | None]:
    """Return all labels of a conditional model, or ``[None]`` for another model."""
    return [*range(model.context)] if model.conditional else [None]


def _prepared(model: Flow, x: Tensor, label: int | None) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the transform's input, the label as context, and the log-weight of the noise.

    The input is the examples with the noise that their likelihood adds; the log-weight is the noise's
    contribution to the log-likelihood.
    """
    x = x.to(device=model.device, dtype=model.dtype)
    context = model.one_hot(label, len(x))
    if model.dequantise is None:
        return x, context, zeros(x)
    with rng.keyed(rng.content_keys(x)):
        x, log_weight = model.dequantise.weigh(x, context)
    return x, context, log_weight


def _error(model: Flow, x: Tensor, context: Tensor | None) -> Measured:
    with _values_alone(model):
        z, _ = model.transform(x, context)
    again = model.transform.invert(z, context)
    return _largest(again, x), {"dtype": str(x.dtype).removeprefix("torch.")}


def _error_in_bfloat16(model: Flow, x: Tensor, context: Tensor | None) -> Measured:
    with _values_alone(model):
        usual, _ = model.transform(x, context)
        with torch.autocast(x.device.type, torch.bfloat16):
            z, _ = model.transform(x, context)
    with torch.autocast(x.device.type, torch.bfloat16):
        again = model.transform.invert(z, context)
    return _largest(again, x), {"latent_change": _largest(z, usual)}


def _largest(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().max())


def _log_det_error(model: Flow, x: Tensor, context: Tensor | None) -> Measured:
    x, details = _small(model, x, context)
    dim = x[0].numel()
    with _values_alone(model):
        operations = dim * (count_flops(lambda: model.transform(x, context))[0] or 0)
        most = MOST_OPERATIONS.get(x.device.type, MOST_OPERATIONS["cpu"])
        if operations > most:
            raise ZooError(
                f"The whole Jacobian would take {operations:.1e} operations, more than {most:.0e}."
            )
        with torch.enable_grad():
            point = x.clone().requires_grad_()
            z = model.transform(point, context)[0].flatten(1)
            if z.shape[1] != dim:
                raise ZooError(
                    f"The latents have {z.shape[1]} dimensions, the data {dim}: the Jacobian is not square."
                )
            jacobian = _jacobian(z, point)
    _, log_det = model.transform(x, context)
    true = torch.linalg.slogdet(jacobian.double())[1]
    return float((log_det.double() - true).abs().max()), {"dim": dim, **details}


def _small(model: Flow, x: Tensor, context: Tensor | None) -> tuple[Tensor, dict[str, Any]]:
    """Return the middle of large images (its side a power of two) if the flow accepts it, or all of x."""
    sides = [
        side
        for side in (8, 4, 2)
        if x.ndim == 4 and side <= min(x.shape[2:]) and x.shape[1] * side**2 <= LARGEST_CROP
    ]
    if x[0].numel() <= LARGEST_CROP or not sides:
        return x, {}
    top, left = ((size - sides[0]) // 2 for size in x.shape[2:])
    crop = x[:, :, top : top + sides[0], left : left + sides[0]]
    try:
        model.transform(crop, context)
    except (ZooError, RuntimeError):  # the flow only accepts images of one size
        return x, {}
    return crop, {"crop": list(crop.shape[1:])}


def _jacobian(z: Tensor, x: Tensor) -> Tensor:
    """Return dz/dx ``(B, D, D)`` of ``z`` ``(B, D)``; rows are latents."""
    units = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None].expand(z.shape[1], *z.shape)
    try:
        rows = torch.cat(
            [
                torch.autograd.grad(z, x, part, is_grads_batched=True, retain_graph=True)[0]
                for part in units.split(ROWS)
            ]
        )
    except RuntimeError:  # a custom autograd.Function without vmap support
        rows = torch.stack([torch.autograd.grad(z, x, unit, retain_graph=True)[0] for unit in units])
    return rows.flatten(2).transpose(0, 1)


@contextmanager
def _values_alone(model: nn.Module) -> Iterator[None]:
    """Within the block, let costly layers compute their value only, with a log-determinant of 0.

    They use operations that autograd differentiates directly: no divergence, series, adjoint or
        recomputation.
    """
    changed: list[nn.Module] = []

    def substitute(
        module: nn.Module, value: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
    ) -> None:
        module.forward = value
        changed.append(module)

    try:
        for module in model.modules():
            if isinstance(module, ContinuousFlow):
                substitute(module, partial(_end_of_path, module))
            elif isinstance(module, InvertibleResidual):
                substitute(module, partial(_residual, module))
            elif isinstance(module, Reversible):
                substitute(module, partial(Chain.forward, module))
        yield
    finally:
        for module in changed:
            del module.forward


def _end_of_path(ode: ContinuousFlow, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    # The adjoint would solve an ODE for each row of a Jacobian.
    solver, ode.solver = ode.solver, replace(ode.solver, adjoint=False)
    try:
        return ode.path(x, (0.0, 1.0), context)[-1], zeros(x)
    finally:
        ode.solver = solver


def _residual(block: InvertibleResidual, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    with torch.autocast(x.device.type, enabled=False):
        return x + _branch(block, x, context), zeros(x)


def _branch(block: InvertibleResidual, x: Tensor, context: Tensor | None) -> Tensor:
    return block.g(x) if context is None else block.g(x, context)


def lipschitz(model: Flow, x: Tensor, context: Tensor | None = None) -> Measured:
    """Return the largest spectral norm of dg/dx over residual blocks and examples, and details.

    The norm is estimated from below, by 20 power iterations. The detail ``bound`` is the upper bound that
    spectral normalisation enforces, ``by_block`` the norm of each block, in the order of the flow.
    """
    blocks = [m for m in model.modules() if isinstance(m, InvertibleResidual)]
    inputs: dict[int, tuple[Any, ...]] = {}
    hooks = [
        block.register_forward_pre_hook(lambda module, given: inputs.__setitem__(id(module), given))
        for block in blocks
    ]
    try:
        with _values_alone(model):
            model.transform(x, context)
    finally:
        for hook in hooks:
            hook.remove()
    norms = [_norm(block, *inputs[id(block)]) for block in blocks if id(block) in inputs]
    return max(norms), {"bound": max(block.lipschitz for block in blocks), "by_block": norms}


def _norm(block: InvertibleResidual, x: Tensor, context: Tensor | None = None) -> float:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        out = _branch(block, x, context)
        dummy = torch.zeros_like(out, requires_grad=True)
        (back,) = torch.autograd.grad(out, x, dummy, create_graph=True)  # J^T dummy, linear in dummy
        v = rng.normal(x.detach())
        norm = torch.zeros(len(x), device=x.device)
        for _ in range(ITERATIONS):
            v = v / v.flatten(1).norm(dim=1).clamp(min=1e-30).view(-1, *[1] * (x.ndim - 1))
            (forward,) = torch.autograd.grad(back, dummy, v, retain_graph=True)
            norm = forward.flatten(1).norm(dim=1)
            (v,) = torch.autograd.grad(out, x, forward, retain_graph=True)
    return float(norm.max())


@torch.no_grad()
def estimation(model: nn.Module, x: Tensor, values: Tensor, again: Callable[..., Tensor]) -> dict[str, Any]:
    """Return the details that describe the error of an estimated likelihood, over the first 16 examples.

    ``estimator_deviation_nats`` is the standard deviation of an example's value over the probes of its trace
    or series, from a second draw with the same dequantisation noise. ``looser`` is a less exact setting (10
    times the tolerances, half the solver's steps, half the series' terms), ``looser_change_nats`` the change
    of the mean log-likelihood at that setting, and ``looser_change_error`` the standard error of that change.

    Args:
        model: a flow whose likelihood is an ``estimate``.
        x: examples in data space.
        values: their log-likelihoods, float64 ``(N,)``.
        again: function from ``(model, x)`` to their log-likelihoods with the same noise.
    """
    if not isinstance(model, Flow) or model.likelihood != "estimate" or len(x) < 2:
        return {}
    x, values = x[:PROBED], values[:PROBED]
    if model.conditional:
        reference = _draw(model, x, salt=3)
        first, second = (mixture(_draw(model, x, salt), reference) for salt in (1, 2))
    else:
        first, second = values, _draw(model, x, salt=1)[0]
    deviation = float(((second - first).square().mean() / 2).sqrt())
    details: dict[str, Any] = {"estimator_deviation_nats": deviation, "estimator_n": len(x)}
    with _looser(model) as what:
        if what:
            change = again(model, x) - values
            error = float(change.std()) / math.sqrt(len(x))
            details |= {
                "looser": what, "looser_change_nats": float(change.mean()), "looser_change_error": error,
            }  # fmt: skip
    return details


def _draw(model: Flow, x: Tensor, salt: int) -> Tensor:
    """Return log p(x | y) of the dequantised examples with other probes, float64 ``(K, N)`` on the CPU."""
    values = []
    for label in _labels(model):
        point, context, log_weight = _prepared(model, x, label)
        with rng.keyed(rng.content_keys(point, salt=salt)):
            z, log_det = model.transform(point, context)
        values.append(model.base.log_prob(z, context) + log_det + log_weight)
    return torch.stack(values).double().cpu()


@contextmanager
def _looser(model: nn.Module) -> Iterator[str]:
    """Use a less exact setting within the block; yield its description, empty if there is none."""
    changes: list[tuple[nn.Module, str, Any]] = []
    what = ""
    for module in model.modules():
        if isinstance(module, ContinuousFlow) and not module.solver.adaptive:
            steps = max(1, module.solver.steps // 2)
            changes.append((module, "solver", replace(module.solver, steps=steps)))
            what = "half the steps"
        elif isinstance(module, ContinuousFlow):
            atol, rtol = module.solver.atol * LOOSER, module.solver.rtol * LOOSER
            changes.append((module, "solver", replace(module.solver, atol=atol, rtol=rtol)))
            what = "10 times the tolerances"
        elif isinstance(module, InvertibleResidual):
            terms = max(1, module.series.eval_terms // 2)
            changes.append((module, "series", replace(module.series, eval_terms=terms)))
            what = "half the terms"
    former = [(module, name, getattr(module, name)) for module, name, _ in changes]
    try:
        for module, name, value in changes:
            setattr(module, name, value)
        yield what
    finally:
        for module, name, value in former:
            setattr(module, name, value)
