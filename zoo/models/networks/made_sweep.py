"""The sequential pass of a MADE without gradients: one dimension after another, in buffers that are kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.models.core.functional import soft_clamp
from zoo.models.networks.masked import ACTIVATIONS

if TYPE_CHECKING:
    from zoo.models.networks.made import MADE

# A matrix product of fewer multiplications than this runs on one thread in NumPy's OpenBLAS. A larger one may
# be divided among threads, which would take more of the machine than torch was allowed.
ONE_THREAD = 2**19

Array = np.ndarray[Any, np.dtype[Any]]
ArrayStep = Callable[[int, Array, Array], None]
Operation = Callable[[], object]


class Sweep:
    """The buffers of :meth:`MADE.generate` without gradients, with all slices prepared once.

    At batch size 1 slicing costs more than arithmetic. The slices of the weights are views, so training may
    continue between two sweeps; if a weight has moved in memory (``.to``, a copy), the sweep does not fit.
    States are feature-major, ``(units, B)``, or ``(units,)`` if B is 1 and torch computes. NumPy computes on
    the same memory.
    """

    def __init__(self, made: MADE, rows: int, in_numpy: bool) -> None:
        self.key = self._key(made, rows, in_numpy)
        like, per_dim = made.output.weight, made.parameters_per_dim
        vectors = rows == 1 and not in_numpy
        with torch.inference_mode(False), torch.no_grad():  # buffers for use outside of inference mode too

            def empty(size: int) -> Tensor:
                shape = (size,) if vectors else (size, rows)
                return torch.empty(shape, dtype=like.dtype, device=like.device)

            layers = [*made.layers, made.output]
            biases = [layer.bias.detach() for layer in layers]
            self.biases = biases if vectors else [bias[:, None] for bias in biases]
            weights = [layer.weight.detach() for layer in layers]
            self.x, self.streams = empty(made.dim), [empty(len(bias)) for bias in biases]
            # x as the network sees it, which differs from x if it is clamped
            self.seen = self.x if made.input_bound is None else empty(made.dim)
            # a state that a later layer adds to must be kept after its activation
            kept = {stage.skip for stage in made.stages}
            states = [
                empty(len(stream)) if index in kept and stage.active else stream
                for index, (stream, stage) in enumerate(zip(self.streams, made.stages, strict=False))
            ]
            self.size = sum(v.numel() for v in [self.x, *self.streams, *states])
            scratch = empty(max(len(bias) for bias in biases))
            do = _in_numpy(made, scratch) if in_numpy else _in_torch(made, vectors)
            self.steps: list[_Step] = []
            for i in range(made.dim):
                below, run = self.seen[:i], list[Operation]()
                for index, (stage, ends) in enumerate(zip(made.stages, made.ends, strict=True)):
                    start, end = ends[i - 1] if i else 0, ends[i]
                    if end > start:
                        stream, state = self.streams[index][start:end], states[index][start:end]
                        run += do.add_product(stream, weights[index][start:end, : len(below)], below)
                        if stage.skip is not None:
                            run += do.add(stream, self.streams[stage.skip][start:end])
                        if states[index] is not self.streams[index]:
                            run += do.copy(state, stream)
                        if stage.active:
                            run += do.activate(state)
                    below = states[index][:end]
                places = slice(i * per_dim, (i + 1) * per_dim)
                out = self.streams[-1][places]
                run += do.add_product(out, weights[-1][places, : len(below)], below)
                x_i = self.x[i : i + 1] if vectors else self.x[i]
                seen = [] if made.input_bound is None else do.clamp(self.seen[i], self.x[i])
                arrays = (out.numpy(), x_i.numpy()) if in_numpy else None
                self.steps.append(_Step(run, out.view(per_dim, rows).T, x_i, arrays, seen))

    @staticmethod
    def _key(made: MADE, rows: int, in_numpy: bool) -> tuple[Any, ...]:
        weights = [w for layer in [*made.layers, made.output] for w in (layer.weight, layer.bias)]
        return rows, in_numpy, weights[0].dtype, weights[0].device, *(w.data_ptr() for w in weights)

    def fits(self, made: MADE, rows: int, in_numpy: bool) -> bool:
        """Return whether these buffers fit a batch of ``rows``, the current weights and who computes."""
        return self.key == self._key(made, rows, in_numpy)

    def run(
        self, step: Callable[[int, Tensor], Tensor], shift: Tensor | None, array_step: ArrayStep | None
    ) -> tuple[Tensor, Tensor]:
        # In inference mode torch does less beside each operation. Its tensors cannot be trained on, so the
        # results are copied after it has ended.
        with torch.inference_mode(), np.errstate(all="ignore"):
            for stream, bias in zip(self.streams, self.biases, strict=True):
                stream.copy_(bias)
            if shift is not None:
                self.streams[0].add_(shift.reshape(self.streams[0].shape))
            for i, (operations, parameters, x_i, arrays, seen) in enumerate(self.steps):
                for operation in operations:
                    operation()
                if arrays is not None and array_step is not None:
                    array_step(i, *arrays)
                else:
                    x_i.copy_(step(i, parameters))
                for operation in seen:
                    operation()
        dim = len(self.x)
        x, all_parameters = self.x.view(dim, -1).T, self.streams[-1].view(dim, -1, self.x[0].numel())
        contiguous = torch.contiguous_format
        return (
            x.clone(memory_format=contiguous),
            all_parameters.permute(2, 0, 1).clone(memory_format=contiguous),
        )


class _Step(NamedTuple):
    """What :meth:`Sweep.run` does for dimension i.

    Attributes:
        operations: compute the parameters of x_i from the dimensions before.
        parameters: the memory of these parameters, ``(B, P)``.
        x_i: the memory of x_i.
        arrays: the memory of both as arrays ``(P, B)`` and ``(B,)``; None if torch computes.
        seen: clamp x_i to what the network sees of it; empty without a clamp.
    """

    operations: list[Operation]
    parameters: Tensor
    x_i: Tensor
    arrays: tuple[Array, Array] | None
    seen: list[Operation]


class _Operations(NamedTuple):
    """Functions from tensors to a list of operations, functions without arguments that change the first one.

    The operations add a product of a matrix and a matrix or vector, add, copy, activate, and clamp.
    """

    add_product: Callable[[Tensor, Tensor, Tensor], list[Operation]]
    add: Callable[[Tensor, Tensor], list[Operation]]
    copy: Callable[[Tensor, Tensor], list[Operation]]
    activate: Callable[[Tensor], list[Operation]]
    clamp: Callable[[Tensor, Tensor], list[Operation]]


def _in_torch(made: MADE, vectors: bool) -> _Operations:
    """Return the steps of the sweep as calls of torch.

    Args:
        made: the network, for its activation and its bound on inputs.
        vectors: whether the batch is a single row: a layer's state is then a vector ``(units,)`` in place of
            a matrix ``(units, B)``.
    """
    add_product = torch.Tensor.addmv_ if vectors else torch.Tensor.addmm_
    activate, bound = ACTIVATIONS[made.activation][1], made.input_bound or 1.0
    return _Operations(
        add_product=lambda y, weight, x: [partial(add_product, y, weight, x)],
        add=lambda y, x: [partial(y.add_, x)],
        copy=lambda y, x: [partial(y.copy_, x)],
        activate=lambda y: [partial(activate, y)],
        clamp=lambda y, x: [lambda: y.copy_(soft_clamp(x, bound))],
    )


def _in_numpy(made: MADE, scratch: Tensor) -> _Operations:
    """Return the steps of the sweep as calls of NumPy, which work on the memory of torch's tensors.

    Args:
        made: the network, for its activation and its bound on inputs.
        scratch: memory for a matrix product, before it is added to a layer's state.
    """
    bound, zero = made.input_bound or 1.0, np.zeros((), scratch.numpy().dtype)

    def add_product(y: Tensor, weight: Tensor, x: Tensor) -> list[Operation]:
        if not len(x):
            return []
        out, product = y.numpy(), scratch[: len(y)].numpy()
        return [partial(np.dot, weight.numpy(), x.numpy(), product), partial(np.add, out, product, out)]

    def activate(y: Tensor) -> list[Operation]:
        out = y.numpy()
        if made.activation == "relu":
            return [partial(np.maximum, out, zero, out=out)]
        return [partial(np.tanh, out, out)]

    def clamp(y: Tensor, x: Tensor) -> list[Operation]:
        out = y.numpy()
        return [
            partial(np.multiply, x.numpy(), 1 / bound, out),
            partial(np.tanh, out, out),
            partial(np.multiply, out, bound, out),
        ]

    return _Operations(
        add_product=add_product,
        add=lambda y, x: [partial(np.add, y.numpy(), x.numpy(), y.numpy())],
        copy=lambda y, x: [partial(np.copyto, y.numpy(), x.numpy())],
        activate=activate,
        clamp=clamp,
    )
