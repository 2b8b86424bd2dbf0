"""Autoregressive bijections: each dimension is transformed conditioned on the dimensions before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zoo.checks import NotNegative, Positive, PositiveFloat, checked
from zoo.models.bijections import by_hand
from zoo.models.bijections.base import Bijection
from zoo.models.bijections.masked_affine import formulas_of
from zoo.models.core.functional import for_products, soft_clamp, sum_event
from zoo.models.networks.made import MADE
from zoo.models.networks.made_sweep import Array, ArrayStep
from zoo.models.networks.masked import Activation, Degrees, Start

Scale = Literal["log_deviation", "log_precision"]
FACTORS = {"log_deviation": 1.0, "log_precision": -0.5}  # of the output, for a log-deviation
LARGE_LOG = 700.0  # math.exp(x) overflows, which raises an error, from x = 709.8 on


def log_deviation(raw: Tensor, scale: Scale, bound: float | None) -> Tensor:
    """Return the logarithm s of a standard deviation from a network's output ``raw``.

    Args:
        raw: the output.
        scale: what it is: s, or the logarithm of the precision, -2 s.
        bound: s is soft-clamped to (-bound, bound); None: no clamp.
    """
    log_scale = raw if scale == "log_deviation" else -0.5 * raw
    return log_scale if bound is None else soft_clamp(log_scale, bound)


class MaskedAutoregressive(Bijection):
    """Base class of autoregressive layers z_i = f(x_i; theta_i) with an increasing f.

    theta_i is a function of x_1 .. x_{i-1} and the context. The Jacobian is lower triangular, so log|det
    dz/dx| = sum_i ln f'(x_i; theta_i). ``forward`` is one pass of a MADE; ``inverse`` is D sequential steps,
    which together compute each hidden unit once. Both cost about one pass of arithmetic. A subclass defines f
    by :meth:`apply_to` and :meth:`undo_on`. It may also define a faster :meth:`solve`, which each sequential
    step calls, and the same for NumPy (:meth:`array_step`).

    Args:
        network: network that computes theta, P numbers for each dimension; events are ``(D,)``.
    """

    def __init__(self, network: MADE) -> None:
        super().__init__()
        self.network = network

    def apply_to(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(x) for ``x`` ``(...)`` with ``parameters`` ``(..., P)``, and ln f'(x)."""
        raise NotImplementedError

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the x with f(x) = ``z``, and the logarithm of the slope of f's inverse at ``z``."""
        raise NotImplementedError

    def solve(self, z: Tensor, parameters: Tensor) -> Tensor:
        """Return only the x with f(x) = ``z``."""
        return self.undo_on(z, parameters)[0]

    def array_step(self, z: Array) -> ArrayStep | None:
        """Return a function that computes x_i with NumPy, or None if torch must compute it.

        :meth:`MADE.generate` calls it for each dimension i, as its ``array_step``.

        Args:
            z: latents ``(D, B)``.
        """
        return None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = x if torch.is_grad_enabled() else for_products(x)
        # in the data's dtype under autocast too, so that value and slope belong to one map
        z, log_slope = self.apply_to(x, self.network(x, context).to(x.dtype))
        return z, sum_event(log_slope)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, parameters = self._solve_all(z, context)
        return x, sum_event(self.undo_on(z, parameters.to(z.dtype))[1])

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self._solve_all(z, context)[0]

    def fixed_point(
        self, z: Tensor, context: Tensor | None = None, tolerance: float = 1e-5
    ) -> tuple[Tensor, int]:
        """Return the inverse by Jacobi iteration and the number of passes of the network that it took.

        x <- f^-1(z; theta(x)) changes all dimensions at once. After k passes the first k dimensions are
        exact, so it ends after D passes at the latest, and sooner where dimensions depend on few others (Song
        et al. 2021, arXiv:2002.03629). ``invert`` needs D sequential steps whatever the weights are.

        Args:
            z: latents ``(B, D)``.
            context: conditioning features ``(B, K)``.
            tolerance: largest change in a pass, relative to 1 + |x|, with which the iteration ends.
        """
        x, passes, settled = torch.zeros_like(z), 0, False
        while not settled and passes < z.shape[1]:
            before, x = x, self.solve(z, self.network(x, context).to(z.dtype))
            settled = bool(((x - before).abs() <= tolerance * (1 + x.abs())).all())
            passes += 1
        return x, passes

    def _solve_all(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        values = z.T.contiguous()
        in_numpy = self.network.generates_in_numpy(len(z)) and z.dtype == self.network.output.weight.dtype
        array_step = self.array_step(values.detach().numpy()) if in_numpy else None
        columns = values.unbind(0) if array_step is None else ()
        return self.network.generate(
            len(z),
            lambda i, parameters: self.solve(columns[i], parameters.to(z.dtype)),
            context,
            array_step,
        )


class MaskedAffineAutoregressive(MaskedAutoregressive):
    """The layer of MAF, f(x; m, s) = (x - m) exp(-s) (Papamakarios et al. 2017, arXiv:1705.07057, eq. 4-5).

    With ``start="he"`` the layer starts as the identity.

    Args:
        dim: number of dimensions D; events are ``(D,)``.
        hidden: widths of the hidden layers of the MADE that computes (m, s).
        context: number of conditioning features; 0 for none.
        log_scale_bound: s is soft-clamped to (-bound, bound), so that one layer stretches a dimension by at
            most e^bound (5: a factor of 148) and a far outlier cannot overflow. None: no clamp, as in the
            paper; z may then overflow far from the data, where the density is 0, or an error if later layers
            turn it into NaN.
        scale: what the network computes for a dimension beside m: the ``log_deviation`` s, or the
            ``log_precision`` -2 s, as in the paper. An update of Adam moves all outputs about equally far, so
            it moves s half as far with ``log_precision``.
        activation, residual, degrees, draw, start, input_bound: see :class:`~zoo.models.networks.made.MADE`.
    """

    @checked("model")
    def __init__(
        self,
        dim: Positive,
        hidden: Sequence[Positive] = (128, 128),
        *,
        context: NotNegative = 0,
        log_scale_bound: PositiveFloat | None = 5.0,
        scale: Scale = "log_deviation",
        activation: Activation = "relu",
        residual: bool = False,
        degrees: Degrees = "spread",
        draw: NotNegative = 0,
        start: Start = "he",
        input_bound: PositiveFloat | None = None,
    ) -> None:
        network = MADE(
            dim,
            2,
            hidden,
            context=context,
            activation=activation,
            residual=residual,
            degrees=degrees,
            draw=draw,
            start=start,
            input_bound=input_bound,
        )
        super().__init__(network)
        self.log_scale_bound, self.scale = log_scale_bound, scale

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and ln|det|; with gradients by :mod:`~zoo.models.bijections.masked_affine`, if it may."""
        plain, known = super().forward, None
        if context is None and torch.is_grad_enabled() and self._is_affine():
            known = formulas_of(self.network, FACTORS[self.scale], self.log_scale_bound, x)
        return plain(x, context) if known is None else by_hand.transform(known[0], plain, x, known[1])

    def _is_affine(self) -> bool:
        """Return whether nobody has changed f."""
        return type(self) is MaskedAffineAutoregressive and "apply_to" not in self.__dict__

    def apply_to(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = self._parts(parameters)
        falls = -log_scale
        return (x - mean) * falls.exp(), falls

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = self._parts(parameters)
        return torch.addcmul(mean, z, torch.exp(log_scale)), log_scale

    def array_step(self, z: Array) -> ArrayStep:
        bound = self.log_scale_bound
        factor = FACTORS[self.scale]
        if z.shape[1] == 1 and bound is not None and bound < LARGE_LOG:
            # for a single number the functions of ``math`` take less time than those of NumPy
            values = z[:, 0].tolist()

            def solve_one(i: int, parameters: Array, x: Array) -> None:
                (mean,), (raw,) = parameters.tolist()
                x[0] = mean + values[i] * math.exp(bound * math.tanh(factor * raw / bound))

            return solve_one
        scratch = np.empty_like(z[0])

        def solve(i: int, parameters: Array, x: Array) -> None:
            mean, raw = parameters
            if bound is None:
                if factor != 1:
                    raw = np.multiply(raw, factor, scratch)
            else:
                raw = np.multiply(raw, factor / bound, scratch)
                np.tanh(scratch, scratch)
                np.multiply(scratch, bound, scratch)
            np.exp(raw, scratch)
            np.multiply(scratch, z[i], scratch)
            np.add(scratch, mean, x)

        return solve

    def _parts(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.unbind(-1)
        return mean, log_deviation(raw, self.scale, self.log_scale_bound)

    def extra_repr(self) -> str:
        return f"log_scale_bound={self.log_scale_bound}, scale={self.scale}"
