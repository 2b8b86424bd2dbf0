"""Train without data modules, files or loggers."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from zoo.models.core.model import GenerativeModel
from zoo.training.module import TrainingModule


def batches(x: Tensor, size: int, updates: int, first: int = 0) -> torch.utils.data.DataLoader:
    """Return a random batch of ``x`` for each of the updates ``first .. updates-1``, always the same ones."""

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            generator = torch.Generator().manual_seed(0)
            for update in range(updates):
                batch = x[torch.randint(len(x), (size,), generator=generator)]
                if update >= first:
                    yield batch

    return torch.utils.data.DataLoader(Endless(), batch_size=None)


def trainer(*callbacks: pl.Callback, **settings: object) -> pl.Trainer:
    """Return a quiet trainer of one process on the CPU."""
    return pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks), num_sanity_val_steps=0, **settings,
    )  # fmt: skip


def fit(module: TrainingModule, x: Tensor, updates: int, batch: int = 256) -> nn.Module:
    """Return the evaluated model after so many updates."""
    trainer().fit(module, batches(x, batch * module.batches_per_update, updates))
    return module.evaluated.eval()


class Line(GenerativeModel):
    """A Gaussian with a learned mean: its optimum is known."""

    family, likelihood = "flow", "exact"

    def __init__(self, spec):
        super().__init__(spec)
        self.mean = nn.Parameter(torch.zeros(2))
        self.register_buffer("calls", torch.zeros(()))

    def _log_prob(self, x, context=None):
        return self.density(x)

    def density(self, x):
        """Return log p up to a constant, ``(B,)``."""
        self.calls += 1
        return -0.5 * (x - self.mean).square().sum(1)
