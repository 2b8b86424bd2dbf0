"""A loss under torch.compile, and the check that its gradients are right."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.core import rng

Loss = Callable[[Tensor, Tensor | None], Tensor]
TOLERANCE, ROUNDED_TOLERANCE = 0.01, 0.1  # fused, fewer values are rounded to 8 bits in between


class CompiledLoss:
    """A loss of a model's examples and labels, compiled by torch.

    A compiler may get gradients wrong without an error; :meth:`check` compares them with the plain loss's.

    Args:
        loss: the plain loss, which is not compiled.
        model: the model whose weights have the gradients.
    """

    def __init__(self, loss: Loss, model: nn.Module) -> None:
        self.plain, self.compiled, self.model = loss, torch.compile(loss), model
        self.checked = False

    def __call__(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.compiled(x, y)

    def check(self, x: Tensor, y: Tensor | None) -> None:
        """Compare the gradients on a batch, at the first call; later calls do nothing.

        Raises:
            ZooError: torch.compile failed, or the gradients differ by more than 1% in norm (10% where
                results are rounded to 16 bits).
        """
        if self.checked:
            return
        weights = [p for p in self.model.parameters() if p.requires_grad]
        start = rng.tell()
        plain = _gradients(self.plain, weights, x, y)
        rng.seek(start)
        try:
            compiled = _gradients(self.compiled, weights, x, y)
        except RuntimeError as failure:
            if "double backward" in str(failure):
                raise ZooError(
                    "torch.compile cannot differentiate a loss that contains derivatives, as this model's "
                    "does; set training.compile=false."
                ) from failure
            if not type(failure).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            raise ZooError(
                f"torch.compile failed ({_cause(failure)}); set training.compile=false, or, since a "
                "compiler that was cut off may have left a damaged file, delete the temporary files of "
                "torchinductor and train again."
            ) from failure
        error = float((compiled - plain).norm() / plain.norm())
        rounded = torch.is_autocast_enabled(x.device.type) or weights[0].dtype.itemsize < 4
        if not error < (ROUNDED_TOLERANCE if rounded else TOLERANCE):
            raise ZooError(
                f"torch.compile gets this model's gradients wrong by {error:.0%}; set training.compile=false."
            )
        self.checked = True


def _gradients(loss: Loss, weights: list[nn.Parameter], x: Tensor, y: Tensor | None) -> Tensor:
    gradients = torch.autograd.grad(loss(x, y), weights, allow_unused=True)
    return torch.cat([g.flatten() for g in gradients if g is not None])


def _cause(failure: Exception) -> str:
    """Return the line of a compiler's long message that names the innermost exception."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()] or [type(failure).__name__]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Unsupported)\b.*\w", line)]
    return (named or lines[:1])[-1]
