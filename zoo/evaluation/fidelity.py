"""A trained run as an input of torch-fidelity, so that torch-fidelity's metrics can judge its samples.

>>> from torch_fidelity import calculate_metrics
>>> calculate_metrics(  # doctest: +SKIP
...     input1=generator("runs/gan-cifar10-s0-..."), input1_model_num_samples=50_000,
...     input2="cifar10-train", fid=True, kid=True, prc=True,
... )
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch_fidelity import GenerativeModelBase

from zoo import factory
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.evaluation.features import to_uint8
from zoo.models.core import rng
from zoo.models.core.capabilities import HasSample


class Generator(GenerativeModelBase):
    """A model as a function from torch-fidelity's noise to RGB images of bytes.

    A row of noise seeds all random numbers of its sample. So for every family the samples depend only on
    torch-fidelity's seed, not on the batch size. They are not a smooth function of the noise, so
    torch-fidelity's perceptual path length (``ppl``) is meaningless for them.

    Args:
        model: a zoo model.
        spec: the data, which must be grey or RGB images of integer levels.

    Raises:
        ZooError: the data are not such images.
    """

    z_size = 4  # normal numbers per sample, so many that no two samples have the same key
    z_type = "normal"
    num_classes = 0

    def __init__(self, model: nn.Module, spec: DataSpec) -> None:
        super().__init__()
        if not spec.is_image or spec.levels is None or spec.shape[0] not in (1, 3):
            raise ZooError(
                f"torch-fidelity judges grey or RGB images of integer levels; these data are {spec.shape}."
            )
        self.model, self.levels = model.eval(), spec.levels
        self.draw = cast(HasSample, model).sample

    @torch.no_grad()
    def forward(self, z: Tensor) -> Tensor:
        """Return images ``(B, 3, H, W)``, uint8, for noise ``(B, 4)``."""
        with rng.keyed(rng.content_keys(z)):
            samples = self.draw(len(z))
        return to_uint8(samples, self.levels).expand(-1, 3, -1, -1)


def generator(run: str | Path, device: torch.device | str | None = None) -> Generator:
    """Return the model of a run's directory or checkpoint, for ``calculate_metrics(input1=...)``.

    Args:
        run: a run's directory or checkpoint, as for :func:`zoo.load`.
        device: device of the model; with ``cuda=True`` torch-fidelity moves it.

    Raises:
        ZooError: there is no model, or its data are not images.
    """
    model = factory.load(run, device=device)
    return Generator(model, model.spec)
