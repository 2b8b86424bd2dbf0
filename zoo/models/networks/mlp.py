"""The dense network that conditions flows on vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.functional import multiplies_features_first
from zoo.models.core.nfe import add_nfe


class MLP(nn.Module):
    """A dense network W_L a(... a(W_1 x + b_1) ...) + b_L with an activation a.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        hidden: widths of the hidden layers.
        activation: class of a; a smooth one keeps a flow's density smooth.
        zero_init_last: whether the last layer starts at zero, so that a flow starts as the identity.
        context: length of the context, which is appended to the inputs; 0 for none.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (128, 128),
        activation: Callable[[], nn.Module] = nn.SiLU,
        zero_init_last: bool = True,
        context: int = 0,
    ) -> None:
        super().__init__()
        in_features += context
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(in_features, width), activation()]
            in_features = width
        last = nn.Linear(in_features, out_features)
        if zero_init_last:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``(B, out_features)`` from ``(B, in_features)`` and a context ``(B, context)``."""
        add_nfe()
        return run_dense(self.layers, x if context is None else torch.cat([x, context], 1))


def run_dense(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Return ``layers(x)``, ``(B, out)``; on a CPU faster and *features first* in memory.

    See :func:`~zoo.models.core.functional.for_products`.

    Args:
        layers: linear layers and elementwise activations, a linear layer first.
        x: the input ``(B, in)``.
    """
    if not multiplies_features_first(x):
        return layers(x)
    h, keeps_inputs = x.t(), torch.is_grad_enabled()
    for layer in layers:
        if is_untouched(layer, nn.Linear):
            # looking up layer.weight would take ten times as long
            weight, bias = cast("dict[str, Tensor]", layer._parameters).values()
            h = torch.addmm(bias.unsqueeze(1), weight, h)
        elif is_untouched(layer, nn.SiLU):
            h = F.silu(h, inplace=not keeps_inputs)
        elif isinstance(layer, (nn.Linear, nn.SiLU)):
            h = layer(h.t()).t()
        else:
            h = layer(h)
    return h.t()


def is_untouched(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return whether a module is of this class itself, without hooks or a ``forward`` of its own.

    A hook, a parametrisation (such as spectral normalisation) or a subclass may compute something else; so
    may an ``inverse`` or ``invert`` of a layer of a flow.
    """
    own = module.__dict__
    return type(module) is kind and not (
        "forward" in own
        or "inverse" in own
        or "invert" in own
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
