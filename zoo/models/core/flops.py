"""The number of floating-point operations, by the formulas of torch's counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from zoo.errors import ZooError


def _matrix_vector(*shapes: Any, **_: Any) -> int:
    """Return the operations of a matrix-vector product, whose operands are the last two arguments."""
    matrix, vector = shapes[-2:]
    return 2 * matrix.numel() if vector.ndim == 1 else 0


aten = torch.ops.aten
# missing in torch's table: matrix-vector products and in-place products, which incremental samplers use
_MORE = dict.fromkeys((aten.mv, aten.addmv, aten.addmv_), _matrix_vector)
_IN_PLACE = {aten.addmm_: aten.addmm, aten.baddbmm_: aten.baddbmm}


class _Counter(TorchDispatchMode):
    """torch's FlopCounterMode without its module hooks, which break ``autograd.grad`` w.r.t. weights."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = _IN_PLACE.get(func._overloadpacket, func._overloadpacket)
        if packet in _MORE:
            self.total += _MORE[packet](*args)
        elif packet in flop_registry:
            self.total += int(flop_registry[packet](*args, **(kwargs or {}), out_val=out))
        return out


def count_flops(call: Callable[[], Any]) -> tuple[int | None, str | None]:
    """Return the floating-point operations of a call, or None with the reason; a multiply-add counts as two.

    Only matrix products, convolutions and attention are counted, with their gradients; elementwise functions,
    sums, sorting, decompositions and noise are not. Every pass of a solver or a sequential sampler within the
    call is counted.
    """
    counter = _Counter()
    try:
        with counter:
            call()
    except (ZooError, RuntimeError, AssertionError) as error:  # the last: no support for dispatch modes
        return None, f"torch's counter does not get through: {' '.join(str(error).split())[:160]}"
    return (
        (counter.total, None)
        if counter.total
        else (None, "The model makes no operation that the counter supports.")
    )
