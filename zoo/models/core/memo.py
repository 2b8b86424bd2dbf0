"""Keep what is computed from weights alone, such as masked weights, until the weights change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """The last value computed from some parameters, with the state of the parameters that it belongs to.

    It is used in evaluation mode without gradients only. A change of a parameter in place is detected, as by
    an optimizer or ``load_state_dict``, and so is one that moves it. A change that torch does not count
    (through ``.data``, or by a fused optimizer) is not: the module that has the memo forgets it in
    :meth:`torch.nn.Module.train`, which training calls. Copies of a memo are empty.
    """

    def __init__(self) -> None:
        self._known: tuple[list[object], Value] | None = (
            None  # replaced as one object: threads never see half of it
        )

    def of(self, module: nn.Module, parameters: Sequence[Tensor], compute: Callable[[], Value]) -> Value:
        """Return ``compute()``, which depends on ``parameters`` of ``module`` alone, or its last value."""
        if module.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return compute()
        state: list[object] = []
        for parameter in parameters:
            # Functional calls put plain tensors in the place of parameters, whose changes are not counted.
            if type(parameter) is not nn.Parameter or parameter.is_inference():
                return compute()
            state += parameter.data_ptr(), parameter._version, parameter.dtype
        known = self._known
        if known is None or known[0] != state:
            with (
                torch.inference_mode(False),
                torch.no_grad(),
            ):  # so that the value can be used outside of inference mode too
                known = self._known = state, compute()
        return known[1]

    def forget(self) -> None:
        """Compute the value anew the next time."""
        self._known = None

    def __reduce__(self) -> tuple[type[Memo[Value]], tuple[()]]:
        return type(self), ()
