"""The loop of ``zoo train`` against a bare one: the same model, batches and steps.

The bare loop is written for a single model: loss, backward, clip, step. zoo's is Lightning's trainer with the
callbacks for curves, checkpoints and progress, and a training module that seeds the noise of every example,
checks the loss and averages gradients. ``keyed`` is the bare loop with zoo's noise; it is checked that it
ends with zoo's weights. A ratio is zoo's time of an update by the other's. The cost of the loop hardly
depends on the model, so small models show it best. Updates from the twentieth on are timed, in turns, on one
thread, in seconds of the processor, which other processes disturb less.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import lightning.pytorch as pl
import torch
from common import write
from omegaconf import DictConfig
from torch import Tensor, nn

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
UPDATES, WARM, ROUNDS = 160, 20, 3
SETTINGS = [
    *(f"training.updates={UPDATES}", "training.validations=1", "training.schedule=constant"),
    *("training.warmup=0", "trainer=cpu", "logger=none"),
]
Weights = dict[str, Tensor]


def bare(config: DictConfig, keyed: bool) -> tuple[float, Weights]:
    """Return the seconds of an update in a bare loop, and the final weights."""
    data, seed = prepare_data(to_dict(config.data)), int(config.seed)
    pl.seed_everything(seed, verbose=False)
    model = factory.instantiate(to_dict(config.model), data.spec)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(
        parameters, lr=config.training.lr, betas=tuple(config.training.betas), fused=True
    )
    batches = data.train_dataloader(config.training.batch_size, seed=seed, stop=UPDATES)
    for update, x in enumerate(batches):
        if update == WARM:
            begun = time.process_time()
        rows = rng.keyed(rng.keys(seed, update, count=len(x))) if keyed else nullcontext()
        with rows:
            loss = -model.log_prob(x).mean() / x[0].numel()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.training.clip)
        optimizer.step()
    return (time.process_time() - begun) / (UPDATES - WARM), dict(model.named_parameters())


class Clock(pl.Callback):
    """Take the time after the updates between which the loop is measured."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        self.at[trainer.fit_loop.total_batch_idx + 1] = time.process_time()


def zoo(config: DictConfig) -> tuple[float, Weights]:
    """Return the same for the training of ``zoo train``, without its last update: a validation follows."""
    spec, data = RunSpec.of(config), prepare_data(to_dict(config.data))
    pl.seed_everything(spec.identity.seed, verbose=False)
    model = factory.instantiate(spec.model, data.spec)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        fit = Fit(spec, model, data, directory=Path(folder), show=None)
        fit.trainer.callbacks.append(clock)
        fit.run([])
    return (clock.at[UPDATES - 1] - clock.at[WARM]) / (UPDATES - 1 - WARM), dict(model.named_parameters())


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for name, overrides in CASES.items():
        config = compose_run([*overrides, *SETTINGS])
        times: dict[str, list[float]] = {"bare": [], "keyed": [], "zoo": []}
        for _ in range(ROUNDS):
            times["bare"].append(bare(config, keyed=False)[0])
            seconds, expected = bare(config, keyed=True)
            times["keyed"].append(seconds)
            seconds, weights = zoo(config)
            times["zoo"].append(seconds)
            torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)
        seconds = {loop: statistics.median(values) for loop, values in times.items()}
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
