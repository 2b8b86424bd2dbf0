"""Layers of a flow that are one node of autograd's graph, with gradients by formulas of their own.

A small batch on a CPU takes as long as its operations are many, whatever they compute, and autograd adds a
node for each. Where :func:`~zoo.models.core.functional.computes_by_hand` allows, a module with formulas, such
as :mod:`~zoo.models.bijections.dense_couplings`, computes the same map in fewer operations and one node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch._C._functorch import is_legacy_batchedtensor

from zoo.models.networks.mlp import is_untouched

Plain = Callable[[Tensor], tuple[Tensor, Tensor]]

uses: Counter[str] = Counter()  # by name: how often this process recorded gradients of formulas


class Formulas(Protocol):
    """Formulas of a map of events ``(B, D)`` and of its gradients.

    Attributes:
        name: what they make fast, as records name it.
    """

    @property
    def name(self) -> str: ...

    def forward(self, inputs: Sequence[Tensor], saved: list[Tensor] | None) -> tuple[Tensor, Tensor]:
        """Return z and ln|det|; append what :meth:`backward` needs to ``saved``, if it is a list.

        Nothing that is returned may be appended: it may be changed in place.

        Args:
            inputs: the events, then the weights.
            saved: an empty list.
        """

    def backward(
        self, inputs: Sequence[Tensor], needed: Sequence[bool], saved: list[Tensor], grads: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Return the gradients of the inputs that need one, and None for the others.

        Args:
            inputs: the events, then the weights.
            needed: whether an input needs its gradient.
            saved: what :meth:`forward` appended; it may be used up.
            grads: gradients of z and of ln|det|.
        """


def transform(
    formulas: Formulas, plain: Plain, x: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return z and ln|det| by formulas, differentiable where gradients are recorded.

    Args:
        formulas: the formulas.
        plain: the same map of ``x`` by the layers themselves, for derivatives of gradients.
        x: the events.
        weights: the parameters that the formulas need.
    """
    if not torch.is_grad_enabled():
        return formulas.forward((x, *weights), None)
    uses[formulas.name] += 1
    z, log_det = _Transform.apply(formulas, plain, x, *weights)
    return z, log_det


def weights_of(module: nn.Module | None, kind: type[nn.Module]) -> list[Tensor] | None:
    """Return the weights of an untouched module of this class; None for another one.

    Weights that are not parameters (functional calls, parametrisations) count as touched.
    """
    if module is None or not is_untouched(module, kind):
        return None
    weights: list[Tensor] = []
    for weight in module._parameters.values():
        if type(weight) is not nn.Parameter:
            return None
        weights.append(weight)
    return weights


class _Transform(torch.autograd.Function):
    """Formulas as one node of the autograd graph.

    Weights are inputs, so that autograd (and the hooks of data-parallel training) handle them.
    """

    @staticmethod
    def forward(ctx: Any, formulas: Formulas, plain: Plain, *inputs: Tensor) -> tuple[Tensor, ...]:
        saved: list[Tensor] = []
        outs = formulas.forward(inputs, saved)
        ctx.formulas, ctx.plain = formulas, plain
        ctx.save_for_backward(*inputs)
        # not saved by autograd, so that backward frees the memory of a layer for the layer before it
        ctx.saved = saved
        return outs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[2:]
        saved, ctx.saved = ctx.saved, []
        # The formulas cannot be differentiated again, the first backward pass used up what was saved, and
        # gradients of several losses at once (``is_grads_batched``) need torch's own operations.
        if torch.is_grad_enabled() or not saved or is_legacy_batchedtensor(grads[0]):
            return None, None, *_by_autograd(ctx.plain, inputs, needed, grads)
        return None, None, *ctx.formulas.backward(inputs, needed, saved, grads)


def _by_autograd(
    plain: Plain, inputs: Sequence[Tensor], needed: Sequence[bool], grads: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return the gradients by autograd, in a new pass through the layers.

    If gradients are recorded, these gradients can be differentiated too.
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        outs = plain(inputs[0])
    pairs = [(out, grad) for out, grad in zip(outs, grads, strict=True) if out.requires_grad]
    found = torch.autograd.grad(
        [out for out, _ in pairs],
        [value for value, need in zip(inputs, needed, strict=True) if need],
        [grad for _, grad in pairs],
        create_graph=differentiable,
        allow_unused=True,
    )
    rest = iter(found)
    return [next(rest) if need else None for need in needed]
