"""The validations of a training: means over all examples and processes, the best so far, and patience."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import Diverged
from zoo.models.core.distributed import raise_together
from zoo.ranks import rank, world_size
from zoo.training import distributed

Score = Callable[[Tensor, Tensor | None], Tensor]


class Validation:
    """Collects the values of a validation batch by batch, and keeps the best criterion of all validations.

    Args:
        scored: number of examples whose likelihood is computed beside the criterion.
        patience: validations without a better criterion after which training ends; None: it does not.
        patience_start: updates before which no validation is counted.
        every: updates between two validations.

    Attributes:
        best: lowest criterion so far; None before the first.
        best_updates: the update of that validation.
        stopped: whether ``patience`` has ended training before the budget.
    """

    def __init__(self, scored: int, patience: int | None, patience_start: int, every: int) -> None:
        self.scored, self.patience, self.patience_start, self.every = scored, patience, patience_start, every
        self.best: float | None = None
        self.best_updates = 0
        self.stopped = False
        self.begin()

    def begin(self) -> None:
        """Forget the values of the validation before."""
        self._criterion: list[Tensor] = []
        self._likelihoods: list[Tensor] = []
        self._failure: Exception | None = None  # of this process in its part of the validation

    def add(
        self,
        x: Tensor,
        y: Tensor | None,
        criterion: Callable[[Tensor, Tensor | None], Tensor | None],
        negative_log_likelihood: Score,
    ) -> None:
        """Add a batch of this process's examples; an error is kept for :meth:`means`.

        Args:
            x: examples ``(B, *shape)``.
            y: their labels ``(B,)``, for a conditional model.
            criterion: function that returns the criterion of each example, ``(B,)``, or None for none.
            negative_log_likelihood: function that returns the same of likelihoods.
        """
        if self._failure is not None:
            return
        try:
            values = criterion(x, y)
            if values is not None:
                self._criterion.append(values.detach().double())
            # each process has every world_size-th example, and scores its part of the first ``scored``
            left = len(range(rank(), self.scored, world_size())) - sum(map(len, self._likelihoods))
            if left > 0:
                part = negative_log_likelihood(x[:left], None if y is None else y[:left])
                self._likelihoods.append(part.detach().double())
        except Exception as error:
            self._failure = error

    def means(self, device: torch.device, updates: int) -> dict[str, float]:
        """Return the means over all processes: ``val/loss`` and ``val/nll``, where there are any.

        Raises:
            Diverged: a mean is not finite.
            Exception: what went wrong in a batch of any process, for all processes together.
        """
        raise_together(self._failure)
        means = {}
        for name, parts in (("val/loss", self._criterion), ("val/nll", self._likelihoods)):
            mean = distributed.mean_of_parts(parts, device)
            if mean is None:
                continue
            if not math.isfinite(mean):
                raise Diverged(f"Validation loss is {mean} at update {updates}; lower training.lr.")
            means[name] = mean
        return means

    def judge(self, loss: float, updates: int) -> None:
        """Compare a criterion with the best one, and see whether the patience has come to its end."""
        if self.best is None or loss < self.best:
            self.best, self.best_updates = loss, updates
        if self.patience is not None:
            since = max(self.best_updates, self.patience_start)
            self.stopped = updates - since >= self.patience * self.every

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values, for a checkpoint."""
        return {"best": self.best, "best_updates": self.best_updates, "stopped": self.stopped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what an earlier :meth:`state_dict` returned, so that training goes on from there.

        The mapping may hold entries of other parts of a checkpoint too; they are not read.
        """
        self.best, self.best_updates = state["best"], state["best_updates"]
        self.stopped = state["stopped"]
