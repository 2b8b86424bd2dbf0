"""Pruning: a search gives up a run whose validation losses are worse than those of its other trials."""

from __future__ import annotations

from collections.abc import Callable

import lightning.pytorch as pl

from zoo.training import distributed
from zoo.training.module import TrainingModule


class Pruning(pl.Callback):
    """Reports the loss of each validation to the search, and ends training if the search gives up the run.

    In the list of callbacks it must come before :class:`~zoo.training.checkpoints.Checkpoints`: a run that is
    killed between a report and its checkpoint repeats the validation, and the second report is ignored.

    Args:
        report: function that enters the loss of a validation, by its number from 1 on, and returns whether
            the search gives up the run. Only the first process calls it.

    Attributes:
        reason: at which update and loss the run was given up, in a sentence; None if it was not.
    """

    def __init__(self, report: Callable[[int, float], bool]) -> None:
        self.report = report
        self.reason: str | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        loss = pl_module.latest.get("val/loss")
        if loss is None:
            return
        number = -(-pl_module.updates // pl_module.validate_every)
        given_up = trainer.is_global_zero and self.report(number, loss)
        # a run that has used up its budget is not given up: its evaluation costs little beside its training
        if distributed.any_of(given_up, pl_module.device) and not pl_module.finished:
            trainer.should_stop = True
            self.reason = (
                f"Pruned at update {pl_module.updates} of {pl_module.schedule.updates}, with a validation "
                f"loss of {loss:.6g}."
            )
