"""The base classes of all metrics: a :class:`torchmetrics.Metric` with a standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, distributed, nn
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from zoo.errors import InvalidData, ZooError
from zoo.evaluation import halves
from zoo.evaluation.features import Extractor, as_levels, named
from zoo.evaluation.halves import ROUNDS
from zoo.evaluation.neighbours import Pairs, Reaches, radii

FeatureExtractor = str | Extractor | Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Value:
    """A metric's value with its standard error.

    Attributes:
        value: the number.
        standard_error: standard error over the draw of the examples; None if it was not estimated.
        n: number of generated (or scored) examples behind the value; None: all of them.
        details: settings and side results.
    """

    value: float
    standard_error: float | None = None
    n: int | None = None
    details: dict[str, Any] = field(default_factory=dict)


class ZooMetric(Metric):
    """Base class of all metrics.

    A subclass declares states, implements ``update`` and returns a :class:`Value` from ``_estimate``.

    States are sums (``dist_reduce_fx="sum"``) or gathered rows (``"cat"``), so the value over several
    processes is that of one process that has seen all examples, up to rounding; and metrics of parts of the
    data merge (``merge_state``). States are float64.

    Args:
        kwargs: those of :class:`torchmetrics.Metric`, such as ``sync_on_compute``.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("dist_sync_fn", gather)
        super().__init__(**kwargs)

    def _estimate(self) -> Value:
        raise NotImplementedError

    def compute(self) -> Tensor:
        """Return the value, a float64 scalar."""
        return torch.tensor(self._estimate().value, dtype=torch.float64, device=self.device)

    def estimate(self) -> Value:
        """Return the value with its standard error and details, over all processes, as ``compute`` does."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self._estimate()

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot the value, or given values (one, or a list as over epochs); return matplotlib's figure and
        axis.

        Args:
            val: a result of ``compute`` or ``forward``, or a list of them; by default ``compute()``.
            ax: matplotlib axis to draw on.
        """
        return self._plot(val, ax)


class MeanMetric(ZooMetric):
    """Base class of means over examples. The values are kept, so the standard error is exact.

    Args:
        kwargs: those of :class:`torchmetrics.Metric`.
    """

    values: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("values", [], dist_reduce_fx="cat")

    def _add(self, values: Tensor) -> None:
        """Add the values of a batch, ``(B,)``."""
        self.values.append(values.detach().to(device=self.device, dtype=torch.float64))

    def _estimate(self) -> Value:
        values = joined(self.values, f"{type(self).__name__} has no examples: call update first.")
        n = len(values)
        error = values.std().item() / math.sqrt(n) if n > 1 else None
        return Value(values.mean().item(), error, n=n)


class TwoSampleMetric(ZooMetric):
    """Base class of metrics that compare generated with real examples; each example is a row of numbers.

    Args:
        reset_real_features: whether ``reset`` removes the real examples too. False keeps them, for real
            examples that are the same in every epoch.
        kwargs: those of :class:`torchmetrics.Metric`.
    """

    gathers = True  # all rows are kept; a subclass that only needs sums declares other states
    real: list[Tensor]
    generated: list[Tensor]

    def __init__(self, *, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reset_real_features = reset_real_features
        if self.gathers:
            self.add_state("real", [], dist_reduce_fx="cat")
            self.add_state("generated", [], dist_reduce_fx="cat")

    def update(self, x: Tensor, real: bool) -> None:
        """Add examples.

        Args:
            x: a batch, in the format of the class.
            real: whether the examples are real or generated.
        """
        (self.real if real else self.generated).append(self._rows(x))

    def reset(self) -> None:
        """Remove all examples; with ``reset_real_features=False`` only the generated ones."""
        real_states = {
            name: list(state) if isinstance(state, list) else state.clone()
            for name, state in self.metric_state.items()
            if name.startswith("real") and not self.reset_real_features
        }
        super().reset()
        for name, state in real_states.items():
            setattr(self, name, state)

    def _rows(self, x: Tensor) -> Tensor:
        """Return a batch as float64 rows ``(B, D)``."""
        # No new object if possible: metrics that hold the same tensor share its distances.
        x = x.detach() if x.requires_grad else x
        return x.flatten(1).to(device=self.device, dtype=torch.float64)

    def _sets(self) -> tuple[Tensor, Tensor]:
        """Return the rows of the generated and of the real examples."""
        name = type(self).__name__
        return (
            joined(self.generated, f"{name} has no generated examples: call update(x, real=False)."),
            joined(self.real, f"{name} has no real examples: call update(x, real=True)."),
        )


class FeatureMetric(TwoSampleMetric):
    """Base class of metrics that compare generated with real images by their features.

    **Images** ``(B, C, H, W)`` have the format of zoo's models and data: levels ``0..levels-1``, integers of
    any dtype or floats without fractions. Floats in another range need ``value_range`` and are rounded to the
    nearest level, generated and real images alike.

    Args:
        feature_extractor: one of

            - the name of an extractor of zoo: ``"digits-cnn"``, ``"mnist-cnn"``, ``"cifar-cnn"`` (their
              weights are in the package), ``"inception-v3-compat"``, ``"dinov2"`` (weights in the torch hub's
              folder);
            - an :class:`~zoo.evaluation.features.Extractor`;
            - any function or module that maps unchanged images to features ``(B, D)``; a module is put in
              evaluation mode;
            - None: ``update`` is given features ``(B, D)`` instead of images.
        levels: number of levels of the images; by default 17 for ``digits-cnn`` and 256 for all others.
        value_range: ``(low, high)`` of float images, such as ``(0, 1)`` or ``(-1, 1)``; None: images hold
            levels.
        reset_real_features: whether ``reset`` removes the real features too.
        kwargs: those of :class:`torchmetrics.Metric`.

    Raises:
        ZooError: the extractor does not exist, or its weights are missing.
    """

    def __init__(
        self,
        feature_extractor: FeatureExtractor = None,
        *,
        levels: int | None = None,
        value_range: tuple[float, float] | None = None,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(reset_real_features=reset_real_features, **kwargs)
        if isinstance(feature_extractor, str):
            feature_extractor, levels = named(feature_extractor, levels)
        self.feature_extractor = feature_extractor
        self.levels, self.value_range = levels or 256, value_range

    def update(self, images: Tensor, real: bool) -> None:
        """Add images ``(B, C, H, W)``, or features ``(B, D)`` where there is no extractor.

        Args:
            images: the batch.
            real: whether the images are real or generated.

        Raises:
            InvalidData: images that are not levels, or features of another shape than ``(B, D)``.
        """
        super().update(images, real)

    def _rows(self, x: Tensor) -> Tensor:
        extractor = self.feature_extractor
        if isinstance(extractor, nn.Module):
            extractor.eval()
        if isinstance(extractor, Extractor):
            x = extractor(as_levels(x, self.levels, self.value_range))
        elif extractor is not None:
            x = extractor(x)
        if x.ndim != 2:
            raise InvalidData(
                f"{type(self).__name__} compares features of shape (B, D); got {tuple(x.shape)}. "
                "Images need a feature_extractor."
            )
        return super()._rows(x)


class NeighbourMetric(FeatureMetric):
    """Base class of metrics that use the k nearest neighbours of features.

    Args:
        feature_extractor: see :class:`FeatureMetric`.
        k: number of neighbours; by default the number in the metric's paper.
        pairs: cache of distances, to be shared by metrics of the same features; by default a new one.
        rounds: number of half-samples of both sets behind the standard error; 0: no error.
        seed: seed of the half-samples.
        kwargs: those of :class:`FeatureMetric`.
    """

    default_k: int
    reach_of: Literal["real", "generated"] = "real"  # the examples whose reach counts

    def __init__(
        self,
        feature_extractor: FeatureExtractor = None,
        *,
        k: int | None = None,
        pairs: Pairs | None = None,
        rounds: int = ROUNDS,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(feature_extractor, **kwargs)
        self.k, self.pairs = self.default_k if k is None else k, pairs
        self.rounds, self.seed = rounds, seed

    def _estimate(self) -> Value:
        pairs = Pairs() if self.pairs is None else self.pairs
        generated, real = self._sets()
        n, m = len(generated), len(real)
        across = pairs.distances(generated, real)
        owners = real if self.reach_of == "real" else generated
        within = pairs.distances(owners, owners)
        value = self._value(across, radii(within, self.k))
        error = None
        if self.rounds and len(owners) // 2 > self.k:
            reach = Reaches(within, self.k)

            def of_rows(rows: Tensor, others: Tensor) -> float:
                return self._value(across[rows][:, others], reach(others if owners is real else rows))

            error = halves.error(of_rows, n, m, self.rounds, self.seed)
        return Value(value, error, n=n, details={"k": self.k, "reference_n": m})

    def _value(self, across: Tensor, reach: Tensor) -> float:
        """Return the metric from the distances ``(N, M)`` of generated to real examples, and the reaches."""
        raise NotImplementedError


def joined(state: list[Tensor] | Tensor, otherwise: str) -> Tensor:
    """Return a gathered state as one tensor; the same object where the state is one batch.

    Raises:
        ZooError: the state is empty; ``otherwise`` is the message.
    """
    rows = state if isinstance(state, Tensor) else state[0] if len(state) == 1 else None
    if rows is None and state:
        rows = torch.cat(list(state))
    if rows is None or len(rows) == 0:
        raise ZooError(otherwise)
    return rows


def gather(state: Tensor, group: Any = None) -> list[Tensor]:
    """Return the state of every process. Unlike in torchmetrics' version, a process may have no examples."""
    shapes: list[Any] = [None] * distributed.get_world_size(group)
    mine = (tuple(state.shape[1:]), state.dtype) if state.numel() else None
    distributed.all_gather_object(shapes, mine, group=group)
    known = next((shape for shape in shapes if shape is not None), None)
    if mine is None and known is not None:
        state = torch.empty(0, *known[0], dtype=known[1], device=state.device)
    return gather_all_tensors(state, group)
