"""What all training rules share: budget, schedule, averaged weights, validation, divergence."""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from zoo.checks import is_whole
from zoo.data.module import Batch
from zoo.errors import Diverged, ZooError
from zoo.models.core import rng
from zoo.models.core.capabilities import HasTrainingStatistics, declared, missing, offers
from zoo.models.core.flops import count_flops
from zoo.models.core.rng import keys
from zoo.training import distributed
from zoo.training.stability import Stability

Optimizer = Literal["adam", "adamw", "rmsprop", "sgd"]
Schedule = Literal["constant", "cosine", "linear"]


def _cause(failure: Exception) -> str:
    """The line of a compiler's long message that names an exception: the last, which is the innermost."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()] or [type(failure).__name__]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Unsupported)\b.*\w", line)]
    return (named or lines[:1])[-1]


class Rule(pl.LightningModule):
    """A training rule over any model.

    One call of ``training_step`` is one *update*. All of an update's randomness is a function of the seed,
    the update's number and each example's place in the global batch; so a resumed run continues bit for bit,
    and several processes draw the noise that one process would.

    Args:
        model: what is trained.
        updates: the budget.
        max_seconds: a second budget, of seconds spent in updates (validation and checkpoints excluded, the
            segments of a resumed run added); training ends, with a validation, when either is used up. How
            many updates fit is up to the machine, and so is a schedule's way through them: a run under
            a budget of time resumes, but does not repeat, bit for bit. None: no such budget.
        batch_size: examples of the global batch.
        seed: the run's seed.
        optimizer: ``adam``, ``adamw``, ``rmsprop`` or ``sgd`` with ``lr``, ``betas``, ``weight_decay``. The
            first of ``betas`` is the momentum of sgd and rmsprop, the second the decay of rmsprop's squares.
        schedule: ``constant``, ``cosine`` or ``linear`` (to zero where the budget ends), after ``warmup``
            linear updates.
        clip: largest gradient norm; None for no clipping.
        ema: decay of the averaged weights; 0 for none. They are evaluated where they exist.
        validations: how many validations the budget of updates is divided by.
        validate_likelihood: validation examples whose likelihood is computed at each validation too, by rules
            whose criterion is another one; so that curves of different rules compare. 0: none.
        validate_samples: samples, the same latents each time, whose energy distance to as many validation
            examples is a curve too (:attr:`sample_distance`). It chooses no checkpoint; its oscillation is
            reported where the rule has no criterion. 0: none.
        log_every: updates between two logged values.
        accumulate: pieces that each process's part of a batch is worked through in, to save memory: the
            gradients add up to those of the whole batch, but for batch norm and torch's own dropout.
        compile: let torch compile the loss. The first update compares its gradients with those of the plain
            code, since a compiler may get them wrong without a word.
    """

    curves: tuple[str, ...] = ("train/loss",)
    losses: tuple[str, ...] = ("train/loss",)  # of each player: whose spikes are counted
    # Energy distance of the evaluated model's samples to validation examples, `validate_samples` of each, the
    # same in every process; NaN where a sample is not finite. Set per run: training does not judge by itself.
    sample_distance: Callable[[nn.Module], float] | None = None

    def __init__(
        self,
        model: nn.Module,
        *,
        updates: int,
        batch_size: int,
        seed: int = 0,
        optimizer: Optimizer = "adam",
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        schedule: Schedule = "cosine",
        warmup: int = 0,
        clip: float | None = 1.0,
        ema: float = 0.0,
        max_seconds: float | None = None,
        validations: int = 20,
        validate_likelihood: int = 0,
        validate_samples: int = 0,
        log_every: int = 10,
        accumulate: int = 1,
        compile: bool = False,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("updates", updates, 1),
            ("batch_size", batch_size, 1),
            ("lr", lr, 0.0),
            ("accumulate", accumulate, 1),
            ("warmup", warmup, 0),
            ("weight_decay", weight_decay, 0.0),
            ("validations", validations, 0),
            ("log_every", log_every, 1),
        ):
            if not value >= least or not math.isfinite(value):
                raise ZooError(f"training.{name} must be at least {least}; got {value}.")
        if not is_whole(validate_samples, 0) or validate_samples == 1:
            raise ZooError(
                f"training.validate_samples is 0, for no distance, or at least 2; got {validate_samples!r}."
            )
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ZooError(f"training.betas are two decays in [0, 1); got {list(betas)}.")
        if clip is not None and not 0 < clip < math.inf:
            raise ZooError(f"training.clip is a norm above zero, or null for no clipping; got {clip}.")
        if max_seconds is not None and not 0 < max_seconds < math.inf:
            raise ZooError(f"training.max_seconds is a time above zero, or null; got {max_seconds}.")
        if not 0 <= ema < 1:
            raise ZooError(f"training.ema is a decay in [0, 1); got {ema}.")
        if optimizer not in get_args(Optimizer) or schedule not in get_args(Schedule):
            raise ZooError(
                f"training.optimizer is one of {', '.join(get_args(Optimizer))} and training.schedule one of "
                f"{', '.join(get_args(Schedule))}; got {optimizer} and {schedule}."
            )
        self.automatic_optimization = False  # one meaning of an update for all rules, two optimisers included
        self.model = model
        self.ema = copy.deepcopy(model).requires_grad_(False) if ema else None
        self.budget, self.batch_size, self.seed = updates, batch_size, seed
        self.optimizer_name, self.lr, self.betas, self.weight_decay = (
            optimizer,
            lr,
            tuple(betas),
            weight_decay,
        )
        self.schedule, self.warmup, self.clip, self.decay = schedule, warmup, clip, ema
        self.max_seconds, self.validate_likelihood = max_seconds, validate_likelihood
        self.validate_samples = validate_samples
        self.validate_every = max(1, updates // max(1, validations))
        self.log_every = log_every
        if (accumulate > 1 or compile) and type(self).loss is Rule.loss:
            raise ZooError(
                "This rule has several losses; leave training.accumulate=1 training.compile=false."
            )
        self.accumulate = accumulate
        self._compiled = torch.compile(self.loss) if compile else None
        self._compiled_is_right = False
        self._counting = False
        self.updates = 0
        self.update_seconds = 0.0
        self.images_seen = 0
        self.stability = Stability()
        self.flops: dict[str, Any] = {"flops_per_example": None, "flops_reason": "Training had ended before."}
        self.latest: dict[str, float] = {}
        self._validation: list[Tensor] = []
        self._likelihoods: list[Tensor] = []

    # What a rule says -----------------------------------------------------------------------------------

    @property
    def batches_per_update(self) -> int:
        """Global batches of ``batch_size`` that one update consumes."""
        return 1

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The mean of what a rule with one optimiser minimises, over examples ``(B, *shape)``."""
        raise NotImplementedError

    def update(self, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """Make one update from this process's part of the batch; return values to log.

        Args:
            x: examples ``(B, *shape)`` in data space.
            y: their labels ``(B,)`` where the model is conditional.
        """
        optimizer: Any = self.optimizers()
        start = rng.tell()
        if self.accumulate > 1 and self.updates == 0:
            with torch.no_grad():  # layers that are set by their first batch see it whole
                self.loss(x, y)
        loss_of = self._checked_loss(x, y)
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=x.device)
        for piece in range(self.accumulate):
            rows = slice(piece, None, self.accumulate)
            rng.seek(start)  # every row draws what it would in the whole batch
            with rng.rows(rows):
                loss = loss_of(x[rows], None if y is None else y[rows]) / self.accumulate
            self.manual_backward(loss)
            total += loss.detach()
        return {"train/loss": total, "train/gradient_norm": self.step(optimizer, self.model)}

    def _checked_loss(self, x: Tensor, y: Tensor | None) -> Callable[[Tensor, Tensor | None], Tensor]:
        """The compiled loss where one is asked for and its gradients are right, else the plain one."""
        if self._compiled is None or self._compiled_is_right:
            return self._compiled or self.loss
        weights = [p for p in self.model.parameters() if p.requires_grad]
        start, found = rng.tell(), []
        for loss_of in (self.loss, self._compiled):
            rng.seek(start)
            try:
                gradients = torch.autograd.grad(loss_of(x, y), weights, allow_unused=True)
            except RuntimeError as failure:
                if not type(failure).__module__.startswith(("torch._dynamo", "torch._inductor")):
                    raise
                raise ZooError(
                    f"torch.compile failed ({_cause(failure)}); set training.compile=false, or, since a "
                    "compiler that was cut off may have left a damaged file, delete the temporary files of "
                    "torchinductor and train again."
                ) from failure
            found.append(torch.cat([g.flatten() for g in gradients if g is not None]))
        error = float((found[1] - found[0]).norm() / found[0].norm())
        rounded = torch.is_autocast_enabled(x.device.type) or weights[0].dtype.itemsize < 4
        if not error < (0.1 if rounded else 0.01):  # fused, fewer values are rounded to 8 bits in between
            raise ZooError(
                f"torch.compile gets this model's gradients wrong by {error:.0%}; set training.compile=false."
            )
        self._compiled_is_right = True
        return self._compiled

    def validation_values(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        """Per-example criterion ``(B,)``, lower is better; None where the rule has no criterion."""
        return None

    def negative_log_likelihood(self, x: Tensor, y: Tensor | None) -> Tensor:
        """-log_prob / D of the evaluated model, ``(B,)``, in nats per dimension."""
        return -self.evaluated.log_prob(x, **given(y)) / x[0].numel()  # type: ignore[operator]

    # What all do ----------------------------------------------------------------------------------------

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and evaluated: averaged weights where they exist."""
        return self.ema if self.ema is not None else self.model

    def build_optimizer(self, parameters: Any, lr: float) -> torch.optim.Optimizer:
        """The configured optimiser over ``parameters``."""
        if self.optimizer_name == "sgd":
            return torch.optim.SGD(parameters, lr=lr, momentum=self.betas[0], weight_decay=self.weight_decay)
        if self.optimizer_name == "rmsprop":
            momentum, alpha = self.betas
            return torch.optim.RMSprop(
                parameters, lr=lr, alpha=alpha, momentum=momentum, weight_decay=self.weight_decay
            )
        kind = torch.optim.AdamW if self.optimizer_name == "adamw" else torch.optim.Adam
        return kind(parameters, lr=lr, betas=self.betas, weight_decay=self.weight_decay)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        optimizers = self._optimizers()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["base_lr"] = group["lr"]
        return optimizers

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.build_optimizer(self.model.parameters(), self.lr)]

    def lr_factor(self) -> float:
        """Factor on the learning rate at the present update; no state, so resuming cannot shift it."""
        if self.updates < self.warmup:
            return (self.updates + 1) / self.warmup
        progress = (self.updates - self.warmup) / max(1, self.budget - self.warmup)
        if self.max_seconds is not None:
            progress = max(progress, self.update_seconds / self.max_seconds)
        left = max(0.0, 1 - progress)
        if self.schedule == "cosine":
            return 0.5 * (1 - math.cos(math.pi * left))
        return left if self.schedule == "linear" else 1.0

    @property
    def finished(self) -> bool:
        """Whether a budget is used up."""
        return self.updates >= self.budget or (
            self.max_seconds is not None and self.update_seconds >= self.max_seconds
        )

    @property
    def validates(self) -> bool:
        """Whether a validation, and with it a checkpoint, follows the update just made."""
        return self.updates % self.validate_every == 0 or self.finished

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        started = time.perf_counter()
        x, y = unpack(batch)
        torch.manual_seed(hash_seed(self.seed, self.updates, self.global_rank))  # dropout and the like
        row_keys = keys(
            self.seed, self.updates, count=len(x), first=self.global_rank * len(x), device=self.device
        )
        with rng.keyed(row_keys):
            values = self.update(x, y)
        # the mean over all processes, so that each of them sees when one diverges
        self.latest = distributed.means({k: float(v.detach()) for k, v in values.items()}, self.device)
        self.stability.update({name: self.latest[name] for name in self.losses if name in self.latest})
        bad = [name for name, value in self.latest.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(
                f"Training diverged at update {self.updates + 1}: {bad[0]} is {self.latest[bad[0]]}; "
                "lower training.lr or training.clip."
            )
        self.updates += 1
        self.images_seen += len(x) * self.trainer.world_size
        self._average()
        self.update_seconds += self._slowest(time.perf_counter() - started)
        if self.finished:
            self.trainer.should_stop = True  # after a last validation

    def on_train_end(self) -> None:
        """Count the operations of one more update, which changes nothing: the record's ``flops_per_example``.

        Its examples are the first of the training set; runs of several processes are not counted. See
        :func:`~zoo.models.core.flops.count_flops` for what the counter does not see.
        """
        data = getattr(self.trainer, "datamodule", None)
        if data is None or not self.updates or self.trainer.interrupted:
            return
        if self.trainer.world_size > 1:
            self.flops["flops_reason"] = "Operations are counted in a single process only."
            return
        size = self.batch_size * self.batches_per_update
        x, y = unpack(data.take("train", torch.arange(size) % len(data.splits["train"])))
        x, y = x.to(self.device), None if y is None else y.to(self.device)
        kept = copy.deepcopy(self.model.state_dict())
        compiled, self._compiled, self._counting = self._compiled, None, True
        try:
            with rng.keyed(keys(self.seed, count=len(x), device=self.device)):
                flops, reason = count_flops(lambda: self.update(x, y))
        finally:
            self._compiled, self._counting = compiled, False
            self.model.load_state_dict(kept)
        self.model.zero_grad(set_to_none=True)
        self.flops = {"flops_per_example": None if flops is None else flops / len(x)}
        if reason is not None:
            self.flops["flops_reason"] = reason

    @property
    def compiled(self) -> bool:
        """Whether torch compiles the loss."""
        return self._compiled is not None

    def _slowest(self, seconds: float) -> float:
        """The longest time of any process, so that all of them stop after the same update."""
        if self.max_seconds is None or self.trainer.world_size == 1:
            return seconds
        return float(self.trainer.strategy.reduce(torch.tensor(seconds, device=self.device), reduce_op="max"))

    def descend(self, loss: Tensor, optimizer: Any, module: nn.Module, player: str = "model") -> Tensor:
        """One optimiser step down ``loss``; returns the gradient norm before clipping."""
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        return self.step(optimizer, module, player)

    def step(self, optimizer: Any, module: nn.Module, player: str = "model") -> Tensor:
        """One optimiser step along the gradients of all processes; returns their norm before clipping.

        ``player`` names whose gradients they are, where several are trained: spikes are counted for each.
        """
        if self._counting:
            return torch.zeros((), device=self.device)
        distributed.average(module.parameters())
        parameters = [p for p in module.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, self.clip if self.clip is not None else math.inf)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * self.lr_factor()
        if self.stability.step(player, float(norm)):  # a step along NaN would leave nothing to look at
            optimizer.step()
        return norm

    @torch.no_grad()
    def _average(self) -> None:
        if self.ema is None:
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))  # forget the start sooner
        for mean, value in zip(self.ema.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        for kept, buffer in zip(self.ema.buffers(), self.model.buffers(), strict=True):
            kept.copy_(buffer)

    def on_validation_epoch_start(self) -> None:
        self._validation, self._likelihoods = [], []
        self.evaluated.eval()
        if offers(self.evaluated, HasTrainingStatistics):
            self.evaluated.on_training_statistics(self._training_batches())

    def _training_batches(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The whole training set with its labels, on every process, for models that evaluate with it."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        x, y = data.splits["train"], data.labels.get("train")
        for rows in torch.arange(len(x)).split(max(self.batch_size, 1000)):
            yield x[rows], None if y is None else y[rows]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, y = unpack(batch)
        values = self.validation_values(x, y)
        if values is not None:
            self._validation.append(values.detach().double())
        # every process scores its share of the first examples
        left = -(-self.validate_likelihood // self.trainer.world_size) - sum(map(len, self._likelihoods))
        if left > 0:
            part = self.negative_log_likelihood(x[:left], None if y is None else y[:left])
            self._likelihoods.append(part.detach().double())

    def on_validation_epoch_end(self) -> None:
        found = {}
        for name, parts in (("val/loss", self._validation), ("val/nll", self._likelihoods)):
            total = torch.zeros(2, dtype=torch.float64, device=self.device)  # a process may have no part
            for values in parts:
                total += torch.stack([values.sum(), torch.tensor(float(len(values)), device=values.device)])
            total = self.trainer.strategy.reduce(total, reduce_op="sum")
            if total[1] == 0:
                continue
            found[name] = float(total[0] / total[1])
        if self.validate_samples:
            assert self.sample_distance is not None
            distance = self.sample_distance(self.evaluated)
            self.latest.pop("val/energy_distance", None)
            if math.isfinite(distance):  # else a gap in the curve: samples are judged when training ends
                found["val/energy_distance"] = distance
        self.evaluated.train()
        for mean in found.values():
            if not math.isfinite(mean):
                raise Diverged(f"Validation loss is {mean} at update {self.updates}; lower training.lr.")
        self.latest |= found
        for name in ("val/loss", "val/energy_distance"):  # the criterion first, where there is one
            if name in found:
                self.stability.validation(name, self.updates, found[name])

    # What a checkpoint holds ----------------------------------------------------------------------------

    about: dict[str, Any] = {}  # noqa: RUF012  (set per run: the model's settings and the data's spec)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["zoo"] = self.about | {
            "updates": self.updates,
            "images_seen": self.images_seen,
            "update_seconds": self.update_seconds,
            "stability": self.stability.state_dict(),
            "weights": "ema" if self.ema is not None else "raw",
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        about = checkpoint["zoo"]
        self.updates, self.images_seen = about["updates"], about["images_seen"]
        self.update_seconds = about.get("update_seconds", 0.0)  # absent before there was a budget of time
        if "stability" in about:  # absent before there was more than the largest gradient
            self.stability.load_state_dict(about["stability"])
        else:
            self.stability.largest_gradient_norm = about["largest_gradient_norm"]


def unpack(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Examples, and labels where there are any."""
    return (batch, None) if isinstance(batch, Tensor) else (batch[0], batch[1])


def given(y: Tensor | None) -> dict[str, Tensor]:
    """Labels as the keyword of a conditional model; nothing for a model that need not know of them."""
    return {} if y is None else {"y": y}


def hash_seed(*counters: int) -> int:
    """A seed for torch's own generator from several counters."""
    return rng.mix_integer(rng.stream(*counters)) % 2**63


def require(model: nn.Module, objective: str, protocol: type) -> None:
    """Raise :class:`ZooError` unless the model has what the training objective needs of it."""
    if names := missing(model, protocol):
        raise ZooError(
            f"training={objective} needs a model with {' and '.join(names)}; {type(model).__name__} has "
            f"none; use training={declared(model).objective}."
        )
