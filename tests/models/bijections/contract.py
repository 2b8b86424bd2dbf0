"""The contract of every bijection as checks: ``from contract import check_bijection, roughen``."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.models.bijections.base import Bijection

# dtype: largest error of the inverse, largest error of the log-determinant against autograd's
TOLERANCES = {torch.float64: (1e-10, 1e-8), torch.float32: (1e-4, 1e-3)}


def roughen(module: nn.Module, amount: float = 0.1, seed: int = 1) -> nn.Module:
    """Perturb every parameter, since many layers start as identities; return the module."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(amount * torch.randn(parameter.shape, generator=generator).to(parameter))
    return module


def jacobian_log_det(bijection: Bijection, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Return log|det dz/dx| of each row by autograd's full Jacobian, ``(B,)``.

    No row depends on another, so one pass over D copies of each row, of which copy k is differentiated in its
    k-th output, has all rows of the Jacobians.
    """
    dim = x[0].numel()
    copies = x.detach().repeat_interleave(dim, 0).requires_grad_()
    with torch.enable_grad():
        z = bijection(copies, None if context is None else context.repeat_interleave(dim, 0))[0].flatten(1)
        outputs = z.view(len(x), dim, dim).diagonal(dim1=1, dim2=2)
        jacobians = torch.autograd.grad(outputs.sum(), copies)[0]
    return torch.linalg.slogdet(jacobians.view(len(x), dim, dim))[1]


def check_bijection(
    bijection: Bijection,
    x: Tensor,
    context: Tensor | None = None,
    *,
    dtypes: Sequence[torch.dtype] = (torch.float64, torch.float32),
    inverse_error: float | None = None,
    log_det_error: float | None = None,
) -> None:
    """Assert the contract of :class:`Bijection` at ``x`` ``(B, *event)``, in evaluation mode.

    In each dtype (and on a CUDA device in float64), for the first row alone and for all: ``inverse`` undoes
    ``forward``; the log-determinant is autograd's, has shape ``(B,)`` and at least float32; the two
    log-determinants sum to zero; no row depends on another. Every parameter, ``x`` and ``context`` receive a
    finite gradient, and a copy made from the state dict maps alike. The bijection itself is left as it was.

    Args:
        bijection: with weights that are not trivial, see :func:`roughen`.
        x: a batch of at least two rows.
        context: ``(B, K)`` of a conditional bijection.
        dtypes: those to check in.
        inverse_error: largest |inverse(forward(x)) - x|; by dtype where None.
        log_det_error: largest deviation from autograd's log-determinant; by dtype where None.
    """
    assert len(x) >= 2, "the contract compares a row alone with a batch"
    places = [("cpu", dtype) for dtype in dtypes]
    if torch.cuda.is_available() and torch.float64 in dtypes:
        places.append(("cuda", torch.float64))  # no TF32, so that the same errors are allowed on a GPU
    for device, dtype in places:
        of_inverse, of_log_det = TOLERANCES[dtype]
        of_inverse = of_inverse if inverse_error is None else inverse_error
        of_log_det = of_log_det if log_det_error is None else log_det_error
        copied = copy.deepcopy(bijection).to(device, dtype).eval()
        points = x.to(device, dtype)
        given = None if context is None else context.to(device, dtype)
        with torch.no_grad():
            z, log_det = copied(points, given)
            back, back_log_det = copied.inverse(z, given)
            alone, alone_log_det = copied(points[:1], None if given is None else given[:1])
        assert z.dtype == dtype
        assert log_det.dtype == dtype
        assert log_det.shape == back_log_det.shape == (len(x),)
        assert torch.isfinite(z).all()
        close(back, points, of_inverse, f"inverse in {dtype}")
        close(log_det + back_log_det, torch.zeros_like(log_det), of_log_det, f"sum of log-dets in {dtype}")
        close(alone, z[:1], of_inverse, f"a row alone in {dtype}")
        close(alone_log_det, log_det[:1], of_log_det, f"log-det of a row alone in {dtype}")
        close(log_det, jacobian_log_det(copied, points, given), of_log_det, f"log-det in {dtype}")
    check_gradients(bijection, x, context)
    check_state(bijection, x, context)


def check_gradients(bijection: Bijection, x: Tensor, context: Tensor | None = None) -> None:
    """Check that every parameter, the input and the context have a finite gradient."""
    copied = copy.deepcopy(bijection).double().eval()
    x = x.double().requires_grad_()
    context = None if context is None else context.double().requires_grad_()
    z, log_det = copied(x, context)
    weights = torch.linspace(0.5, 1.5, z.numel(), dtype=z.dtype).view_as(z)
    ((z.square() * weights).sum() + log_det.sum()).backward()
    reached = dict(copied.named_parameters()) | {"x": x} | ({} if context is None else {"context": context})
    for name, value in reached.items():
        if value.requires_grad and value.numel():
            assert value.grad is not None, f"{name} gets no gradient"
            assert torch.isfinite(value.grad).all(), f"{name} gets a gradient that is not finite"
            assert value.grad.abs().max() > 0, f"{name} gets a gradient of zero"


def check_state(bijection: Bijection, x: Tensor, context: Tensor | None = None) -> None:
    """Check that another instance is the same map after loading the saved state."""
    copied = copy.deepcopy(bijection).eval()
    other = copy.deepcopy(copied)
    with torch.no_grad():
        for value in [*other.parameters(), *(b for b in other.buffers() if b.is_floating_point())]:
            value.add_(0.1)
    stream = io.BytesIO()
    torch.save(copied.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    x = x.to(next(iter(copied.parameters()), x).dtype)
    context = None if context is None else context.to(x.dtype)
    persistent = {name for name, _ in copied.named_parameters()} | set(copied.state_dict())
    for name, buffer in copied.named_buffers():
        if name not in persistent:  # must follow from the constructor, since it is not saved
            other.get_buffer(name).copy_(buffer)
    with torch.no_grad():
        expected, actual = copied(x, context), other(x, context)
    for ours, theirs in zip(expected, actual, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


def close(actual: Tensor, expected: Tensor, error: float, what: str) -> None:
    """Assert that all elements differ by at most ``error``."""
    gap = (actual - expected).abs().max().item()
    assert gap <= error, f"{what}: off by {gap:.2e}, at most {error:.0e} is allowed"
