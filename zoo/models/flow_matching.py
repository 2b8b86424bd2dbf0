"""Flow matching: a continuous flow trained by regression, without solving the ODE."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo.checks import whole
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.continuous import ContinuousFlow
from zoo.models.core import rng
from zoo.models.families.flow import Preprocessing, context_size
from zoo.models.ffjord import ContinuousModel
from zoo.models.networks.unet import UNet
from zoo.models.networks.vector_field import DenseField, PatchField

Field = Literal["unet", "patch"]


class FlowMatching(ContinuousModel):
    """Conditional flow matching on straight paths (Lipman et al. 2023, arXiv:2210.02747; Tong et al. 2024).

    With t = 0 at the data x and t = 1 at the noise e, the path is x_t = (1 - t) x + t e and the network
    regresses its velocity, e - x, whose mean given x_t is the velocity of a flow from the data's distribution
    to the standard normal. Density and samples come from the same ODE as FFJORD's.

    Args:
        spec: the data.
        coupling: of data and noise within a batch: ``independent``, or ``minibatch_ot`` (the assignment
            of least squared distance; the batch is then in one piece and in one process).
        conditional: condition the field on the label.
        field: of images: ``unet``, or the ``patch`` field that FFJORD has.
        hidden: hidden layers of the field (vectors).
        unet: settings of :class:`~zoo.models.networks.unet.UNet`.
        patch: settings of :class:`~zoo.models.networks.vector_field.PatchField`.
        solver, steps, atol, rtol, exact_dim: see :class:`~zoo.models.bijections.continuous.ContinuousFlow`.
        preprocessing, alpha: see :class:`~zoo.models.ffjord.ContinuousModel`.
    """

    objective = "matching"

    def __init__(
        self,
        spec: DataSpec,
        coupling: Literal["independent", "minibatch_ot"] = "independent",
        conditional: bool = False,
        field: Field = "unet",
        hidden: Sequence[int] = (128, 128, 128),
        unet: Mapping[str, Any] | None = None,
        patch: Mapping[str, Any] | None = None,
        solver: str = "dopri5",
        steps: int = 20,
        atol: float = 1e-5,
        rtol: float = 1e-5,
        exact_dim: int = 8,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
    ) -> None:
        if coupling not in ("independent", "minibatch_ot"):
            raise ZooError(f"model.coupling is independent or minibatch_ot; got '{coupling}'.")
        if conditional and coupling == "minibatch_ot":
            raise ZooError(
                "model.coupling=minibatch_ot would tie the noise to the label of a conditional model; "
                "use independent."
            )
        network = make_field(spec, field, hidden, unet, patch, conditional)
        ode = ContinuousFlow(network, solver=solver, steps=steps, atol=atol, rtol=rtol, exact_dim=exact_dim)
        super().__init__(spec, ode, preprocessing, alpha, conditional)
        self.coupling = coupling
        self.whole_batch = coupling == "minibatch_ot"

    def matching_loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Regression error of each example, shape ``(B,)``, in squared units of the preprocessed data.

        |v(t, x_t) - (e - x)|^2 / D with t uniform on [0, 1) and e standard normal, both from
        :mod:`zoo.models.core.rng` (Lipman et al. 2023, eq. 23, with their time reversed).

        Args:
            x: ``(B, *spec.shape)`` in data space.
            y: labels ``(B,)`` of a conditional model.
        """
        x, context = x.to(device=self.device, dtype=self.dtype), self.one_hot(y, len(x))
        if self.dequantise is not None:
            x = self.dequantise(x)
        x, _ = self.before(x)
        e = rng.normal(x)
        if self.coupling == "minibatch_ot":
            e = e[assignment(x, e)]
        t = rng.uniform(x.flatten(1)[:, :1])
        wide = t.view(-1, *[1] * (x.ndim - 1))
        velocity = self._velocity(t.flatten(), (1 - wide) * x + wide * e, context)
        return (velocity - (e - x)).square().flatten(1).mean(1)


def make_field(
    spec: DataSpec,
    field: Field,
    hidden: Sequence[int],
    unet: Mapping[str, Any] | None,
    patch: Mapping[str, Any] | None,
    conditional: bool,
) -> nn.Module:
    """The network of a matching model: dense on vectors, the chosen one on images.

    Raises:
        ZooError: no such field, or settings that it does not have.
    """
    context = context_size(spec, conditional)
    if field not in ("unet", "patch"):
        raise ZooError(f"model.field is unet or patch; got '{field}'.")
    whole(1, hidden=hidden)
    own = {"unet": _settings_of(UNet, "unet", unet), "patch": _settings_of(PatchField, "patch", patch)}
    whole(1, **{f"patch.{name}": own["patch"].get(name) for name in ("hidden", "patch")})
    if not spec.is_image:
        return DenseField(spec.dim, hidden, context)
    network = UNet if field == "unet" else PatchField
    return network(spec.shape, **own[field], context=context)


def _settings_of(network: type[nn.Module], name: str, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The settings given for a network, none that it does not have."""
    known = [key for key in inspect.signature(network).parameters if key not in ("shape", "context")]
    given = {} if given is None else given
    if not isinstance(given, Mapping) or any(key not in known for key in given):
        got = list(given) if isinstance(given, Mapping) else repr(given)
        raise ZooError(f"model.{name} has the settings {', '.join(known)}; got {got}.")
    return given


@torch.no_grad()
def assignment(x: Tensor, e: Tensor) -> Tensor:
    """Index of the noise for each example under the assignment of least squared distance, ``(B,)``."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(x.flatten(1), e.flatten(1)).square()
    return torch.as_tensor(linear_sum_assignment(cost.cpu().numpy())[1], device=x.device)
