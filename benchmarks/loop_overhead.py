"""The loop of ``zoo train`` against a bare one: the same model, batches and steps.

The bare loop is written for a single model: loss, backward, clip, step. zoo's is Lightning's trainer with the
callbacks for curves, checkpoints and progress, and a training module that seeds the noise of every example,
checks the loss and averages gradients. ``keyed`` is the bare loop with zoo's noise; it is checked that it has
zoo's likelihoods, but for roundings, after twenty updates. A ratio is zoo's time of an update by the other's.
The cost of the loop hardly depends on the model, so small models show it best. The loops take turns update by
update, each with a model and batches of its own, so that a disturbance meets them alike; their medians are
compared, on one thread, in seconds of the processor, from the twentieth update on.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import lightning.pytorch as pl
import torch
from common import write
from omegaconf import DictConfig
from torch import nn

from zoo import factory
from zoo.config import compose_run, to_dict
from zoo.models.core import rng
from zoo.running.data import prepare_data
from zoo.running.fit import Fit
from zoo.running.spec import RunSpec

CASES = {
    "MAF(5), batch 100": ["data=moons", "model=maf", "training.batch_size=100"],
    "Real NVP, batch 128": ["data=moons", "model=realnvp", "training.batch_size=128"],
}
UPDATES, WARM = 600, 20
SETTINGS = [
    *(f"training.updates={UPDATES}", "training.validations=1", "training.schedule=constant"),
    *("training.warmup=0", "trainer=cpu", "logger=none"),
]


def built(config: DictConfig) -> nn.Module:
    """Return the model of a configuration with the weights with which every loop begins."""
    pl.seed_everything(int(config.seed), verbose=False)
    return factory.instantiate(to_dict(config.model), prepare_data(to_dict(config.data)).spec)


def bare(config: DictConfig, model: nn.Module, keyed: bool) -> Callable[[int], None]:
    """Return a function that makes the update of a number as a loop for a single model does."""
    data, seed = prepare_data(to_dict(config.data)), int(config.seed)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(
        parameters, lr=config.training.lr, betas=tuple(config.training.betas), fused=True
    )
    batches = iter(data.train_dataloader(config.training.batch_size, seed=seed, stop=UPDATES))

    def make(update: int) -> None:
        x = next(batches)
        with rng.keyed(rng.keys(seed, update, count=len(x))) if keyed else nullcontext():
            loss = -model.log_prob(x).mean() / x[0].numel()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.training.clip)
        optimizer.step()

    return make


class Turns(pl.Callback):
    """Makes the other loops' update after each of zoo's, and takes the seconds of each.

    It must be the last callback. The last update is not timed: a validation follows.

    Args:
        others: the other loops by name, as functions that make the update of a number.
        check: function that is called when all loops have made the first :data:`WARM` updates.
    """

    def __init__(self, others: dict[str, Callable[[int], None]], check: Callable[[], None]) -> None:
        self.others, self.check = others, check
        self.seconds: dict[str, list[float]] = {"zoo": [], **{name: [] for name in others}}
        self.begun = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        self.seconds["zoo"].append(time.process_time() - self.begun)
        for name, make in self.others.items():
            self.begun = time.process_time()
            make(len(self.seconds[name]))
            self.seconds[name].append(time.process_time() - self.begun)
        if len(self.seconds["zoo"]) == WARM:
            self.check()
        self.begun = time.process_time()


def measured(overrides: list[str]) -> dict[str, float]:
    """Return the median seconds of an update of each loop for a case's overrides."""
    config = compose_run([*overrides, *SETTINGS])
    spec, data = RunSpec.of(config), prepare_data(to_dict(config.data))
    models = {loop: built(config) for loop in ("bare", "keyed", "zoo")}

    x = next(iter(data.train_dataloader(config.training.batch_size, seed=int(config.seed), stop=1)))

    @torch.no_grad()
    def same() -> None:
        values = [models[loop].log_prob(x).mean() for loop in ("zoo", "keyed")]
        torch.testing.assert_close(*values, rtol=1e-3, atol=1e-4)

    others = {loop: bare(config, models[loop], loop == "keyed") for loop in ("bare", "keyed")}
    turns = Turns(others, same)
    pl.seed_everything(spec.identity.seed, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        fit = Fit(spec, models["zoo"], data, directory=Path(folder), show=None)
        fit.trainer.callbacks.append(turns)
        fit.run([])
    return {loop: statistics.median(taken[WARM:-1]) for loop, taken in turns.seconds.items()}


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for name, overrides in CASES.items():
        seconds = measured(overrides)
        row = {
            "case": name,
            **{f"{loop}_ms": round(1e3 * value, 3) for loop, value in seconds.items()},
            "ratio": round(seconds["zoo"] / seconds["bare"], 3),
            "ratio_to_keyed": round(seconds["zoo"] / seconds["keyed"], 3),
        }
        rows.append(row)
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    print(
        write(
            "loop_overhead",
            rows,
            about="processor milliseconds of an update; ratios are zoo's by the bare loop's",
        )
    )


if __name__ == "__main__":
    main()
