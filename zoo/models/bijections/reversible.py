"""A chain that stores no activations and recomputes them from its output, by inversion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoo.errors import ZooError
from zoo.models.bijections.base import Bijection, Chain, zeros
from zoo.models.core import rng

KEEP = 8  # the input of every eighth layer is kept, to limit the rounding errors of inverses
Step = tuple[Callable[..., tuple[Tensor, Tensor]], Callable[..., Tensor]]  # a map and its inverse


class Reversible(Chain):
    """A :class:`Chain` whose memory in training does not grow with its depth (Gomez et al. 2017).

    The output and the input of every eighth layer are kept. The backward pass goes from the last layer to the
    first: invert the layer, run it once more with gradients, back-propagate through it alone, free its graph.
    The gradients of parameters, input and context are those of the plain chain, for any function of value and
    log-determinants (weights for each example, several terms), up to the rounding of at most seven inverses;
    the cost is about one inverse and one more forward pass a layer. Memory holds the activations of one layer
    at a time and the inputs of an eighth of the layers, so make one layer of several small ones:

    >>> from zoo.models.bijections.actnorm import ActNorm
    >>> from zoo.models.bijections.permutation import Permutation
    >>> steps = [Chain([ActNorm(2), Permutation([1, 0])]) for _ in range(64)]
    >>> z, log_det = Reversible(steps)(torch.randn(8, 2))

    Without gradients it is a :class:`Chain`, and it has the same state dict: a checkpoint of one loads into
    the other. A layer is inverted by :meth:`Bijection.invert` and run again by its ``forward``, in training
    mode, with the random numbers (torch's generator and :mod:`zoo.models.core.rng`) and the autocast of its
    first run; so dropout and trace probes repeat. Requirements on a layer: ``invert`` inverts ``forward``
    also in training mode; a layer that cannot (batch normalisation, whose batch statistics are gone) declares
    ``reversible = False``. A layer whose state changes in a forward pass must be the same map when it is run
    twice. Second derivatives are not supported.

    Args:
        layers: in the order data to latent.

    Raises:
        ZooError: a layer is not reversible in training.
    """

    def __init__(self, layers: Iterable[Bijection]) -> None:
        super().__init__(layers)
        for module in self.modules():
            if isinstance(module, Bijection) and not module.reversible:
                raise ZooError(
                    f"memory_efficient=true recomputes activations, which {type(module).__name__} does not "
                    "allow; choose another normalisation, or memory_efficient=false."
                )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not self._needs_gradient(x, context):
            return super().forward(x, context)
        steps: list[Step] = [(layer, layer.invert) for layer in self.layers]
        return self._run(steps, x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not self._needs_gradient(z, context):
            return super().inverse(z, context)
        steps: list[Step] = [(layer.inverse, _value(layer)) for layer in reversed(self.layers)]
        return self._run(steps, z, context)

    def _run(self, steps: list[Step], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        parameters = [p for p in self.parameters() if p.requires_grad]
        return _Recompute.apply(steps, x, context, *parameters)

    def _needs_gradient(self, x: Tensor, context: Tensor | None) -> bool:
        inputs = [x, *([] if context is None else [context]), *self.parameters()]
        return torch.is_grad_enabled() and any(value.requires_grad for value in inputs)


def chain(layers: Iterable[Bijection], memory_efficient: bool = False) -> Chain:
    """Return a chain of layers, :class:`Reversible` if ``memory_efficient``."""
    return Reversible(layers) if memory_efficient else Chain(layers)


class _Recompute(torch.autograd.Function):
    """The chain as one node of the autograd graph, which saves its output and recomputes its activations.

    Parameters are inputs, so that autograd (and the hooks of data-parallel training) handle them.
    """

    @staticmethod
    def forward(
        ctx: Any, steps: list[Step], x: Tensor, context: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.steps, ctx.scenes = steps, []
        total, value, kept = zeros(x), x, []
        for index, (apply, _) in enumerate(steps):
            if index % KEEP == 0:
                kept.append(value)
            ctx.scenes.append(_Scene(x.device))
            value, log_det = apply(value, context)
            total = total + log_det
        if value is x:  # an empty chain; autograd does not allow an output that is the input
            value = x.clone()
        ctx.save_for_backward(value, context, *kept, *parameters)
        return value, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor | None, ...]:
        value, context, *rest = ctx.saved_tensors
        count = len(range(0, len(ctx.steps), KEEP))
        kept, parameters = rest[:count], rest[count:]
        value = value.detach()
        context = None if context is None else context.detach().requires_grad_(ctx.needs_input_grad[2])
        wanted = [*parameters, *([context] if context is not None and context.requires_grad else [])]
        totals: list[Tensor | None] = [None] * len(wanted)
        for index in reversed(range(len(ctx.steps))):
            (apply, undo), scene = ctx.steps[index], ctx.scenes[index]
            if index % KEEP == 0:
                value = kept.pop()
            else:
                with torch.no_grad(), scene.again():
                    value = undo(value, context)
            point = value.detach().requires_grad_()
            with torch.enable_grad(), scene.again():
                outputs = apply(point, context)
            pairs = [
                (out, g) for out, g in zip(outputs, (grad, grad_log_det), strict=True) if out.requires_grad
            ]
            grads = torch.autograd.grad(
                [out for out, _ in pairs],
                [point, *wanted],
                [g.to(out.dtype) for out, g in pairs],
                allow_unused=True,
            )
            value = point.detach()
            grad = grads[0] if grads[0] is not None else torch.zeros_like(value)
            for i, one in enumerate(grads[1:]):
                so_far = totals[i]
                if one is not None:
                    totals[i] = one if so_far is None else so_far + one
        of_context = totals.pop() if len(wanted) > len(parameters) else None
        return None, grad, of_context, *totals


class _Scene:
    """The state of the random numbers and of autocast in which a layer was run."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.noise = rng.state()
        self.cpu = torch.get_rng_state()
        self.accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self.autocast = (torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type))

    @contextmanager
    def again(self) -> Iterator[None]:
        with ExitStack() as stack:
            cuda = [self.device] if self.accelerator is not None else []
            stack.enter_context(torch.random.fork_rng(devices=cuda))
            torch.set_rng_state(self.cpu)
            if self.accelerator is not None:
                torch.cuda.set_rng_state(self.accelerator, self.device)
            stack.enter_context(rng.restore(self.noise))
            enabled, dtype = self.autocast
            stack.enter_context(torch.autocast(self.device.type, dtype=dtype, enabled=enabled))
            yield


def _value(layer: Bijection) -> Callable[..., Tensor]:
    return lambda x, context=None: layer(x, context)[0]
