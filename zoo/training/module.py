"""The base of all training modules: update, validation, and what a checkpoint holds."""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from zoo.checks import build_settings
from zoo.data.module import Batch, DataModule
from zoo.errors import Diverged, ZooError
from zoo.models.core import rng
from zoo.models.core.capabilities import HasLogProb, declared, missing
from zoo.ranks import world_size
from zoo.training import distributed, reports
from zoo.training.averaging import averaged_copy, collect_statistics
from zoo.training.compile import CompiledLoss
from zoo.training.optimizers import Optimizer, step_if_finite
from zoo.training.reports import Report
from zoo.training.schedule import Schedule
from zoo.training.settings import TrainingSettings, logged_every, validated_every
from zoo.training.stability import Stability
from zoo.training.validation import Validation


class TrainingModule(pl.LightningModule):
    """The training of a model by one objective.

    One call of ``training_step`` is one *update*. All of an update's randomness is a function of the seed,
    the update's number and each example's place in the global batch; so a resumed run continues bit for bit,
    and several processes draw the noise that one process would.

    A subclass with one optimiser writes :meth:`loss` and, if it has a criterion, :meth:`validation_values`;
    one with several optimisers writes :meth:`update` and :meth:`configure_optimizers`.

    Args:
        model: the model to train.
        seed: the run's seed.
        settings: see :class:`~zoo.training.settings.TrainingSettings`; a subclass may have more.

    Attributes:
        Settings: the class of the settings.
        curves: names of the values that :meth:`update` returns, for the columns of ``curves.csv``.
        losses: those among them that are losses of a player, whose spikes are counted.
        unread: names of the settings that have no effect here, which a user cannot give.
        schedule: budget and learning rate.
        updates: updates made so far.
        images_seen: training examples seen so far, by all processes.
        update_seconds: seconds spent in updates so far.
        training_set: the data, for an objective that needs all training examples in each update; set by the
            run.
        latest: the values of the last update and of the last validation after it, by name.
        stability: how steadily training goes.
        validation: the validations so far, the best one among them.
        signalled: whether this process was asked to end.
        asked_to_end: whether any process was, before the latest update whose values are read; the same in
            every process.

    Raises:
        ZooError: a setting that does not exist, or a value of another type or range.
    """

    Settings: ClassVar[type[TrainingSettings]] = TrainingSettings
    curves: ClassVar[tuple[str, ...]] = ("train/loss",)
    losses: ClassVar[tuple[str, ...]] = ("train/loss",)
    unread: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: nn.Module, *, seed: int = 0, **settings: Any) -> None:
        super().__init__()
        self.settings = values = self.checked(settings)
        self.automatic_optimization = False  # an update means the same with one optimiser and with two
        self.seed = seed
        self.model = model
        self.ema = averaged_copy(model, values.ema) if values.ema else None
        self.schedule = Schedule(values.schedule, values.updates, values.warmup, values.max_seconds)
        self.validate_every = validated_every(values.updates, values.validations)
        self.log_every = logged_every(values.log_every, values.updates, values.validations)
        self.compiled_loss = CompiledLoss(self.loss, model) if values.compile else None
        self.updates = self.images_seen = 0
        self.update_seconds = 0.0
        self.stability = Stability()
        self.validation = Validation(
            values.validate_likelihood, values.patience, values.patience_start, self.validate_every
        )
        self.training_set: DataModule | None = None
        self.latest: dict[str, float] = {}
        self._dry_run = False
        self._plain = False  # whether torch alone passes backward and steps
        self.signalled = self.asked_to_end = False
        self._norms: list[tuple[str, Tensor]] = []
        self._reports: deque[Report] = deque()

    @classmethod
    def checked(cls, settings: Mapping[str, Any]) -> TrainingSettings:
        """Return the settings of the section ``training`` as an object, whatever the model.

        Raises:
            ZooError: a setting that does not exist, or a value of another type or range.
        """
        values = build_settings(cls.Settings, settings, "training")
        if values.validate_samples == 1:
            raise ZooError("training.validate_samples must be 0, for no distance, or at least 2; got 1.")
        logged_every(values.log_every, values.updates, values.validations)  # refuses too many validations
        if len(values.betas) != 2:
            raise ZooError(f"training.betas must be two decays; got {list(values.betas)}.")
        if (values.accumulate > 1 or values.compile) and cls.loss is TrainingModule.loss:
            raise ZooError(
                f"{cls.__name__} has several losses; set training.accumulate=1 training.compile=false."
            )
        return values

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and evaluated: with averaged weights, if there are any."""
        return self.ema.module if self.ema is not None else self.model

    @property
    def with_labels(self) -> bool:
        """Whether batches contain labels, for a conditional model."""
        return declared(self.model).conditional

    @property
    def partial_gradients(self) -> bool:
        """Whether a backward pass may leave weights without a gradient: a subclass with its own updates."""
        return type(self).update is not TrainingModule.update

    @property
    def batches_per_update(self) -> int:
        """Number of batches of ``batch_size`` that one update consumes."""
        return 1

    @property
    def examples_per_update(self) -> int:
        """Number of training examples that one update consumes, over all processes."""
        return self.settings.batch_size * self.batches_per_update

    @property
    def finished(self) -> bool:
        """Whether a budget is used up, or the patience with a validation loss that does not improve."""
        return self.validation.stopped or self.schedule.finished(self.updates, self.update_seconds)

    @property
    def validates(self) -> bool:
        """Whether a validation, and with it a checkpoint, follows the update just made."""
        return self.updates % self.validate_every == 0 or self.finished

    @property
    def compiled(self) -> bool:
        """Whether torch compiles the loss."""
        return self.compiled_loss is not None

    # The objective --------------------------------------------------------------------------------------

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Return the mean loss of examples ``(B, *shape)`` and their labels ``(B,)``."""
        raise NotImplementedError

    def validation_values(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        """Return the criterion of each example, ``(B,)``, lower is better; None if there is none."""
        return None

    def negative_log_likelihood(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Return -log_prob / D of the evaluated model, ``(B,)``, in nats per dimension."""
        model = cast(HasLogProb, self.evaluated)
        return -model.log_prob(x, **label_argument(y)) / x[0].numel()

    # Training -------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        if max(world_size(), self.settings.accumulate) > 1 and declared(self.model).whole_batch:
            raise ZooError(
                f"The loss of {type(self.model).__name__} takes its batch as a whole (whole_batch), so it "
                "needs one process and training.accumulate=1, or settings of the model without such a loss."
            )

    def on_train_start(self) -> None:
        self._plain = not distributed.needs_lightning(self)

    def optimizer_settings(self, lr: float | None = None) -> Optimizer:
        """Return the configured optimiser, with another learning rate if one is given."""
        s = self.settings
        return Optimizer(s.optimizer, s.lr if lr is None else lr, s.betas, s.weight_decay, s.eps)

    def configure_optimizers(self) -> Any:
        return [self.optimizer_settings().build(self.model.parameters())]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        started = time.perf_counter()
        x, y = unpack(batch)
        seed_generators(
            hash_seed(self.seed, self.updates, self.global_rank), self.device
        )  # dropout and the like
        with rng.keyed(*self._keys(len(x))):
            values = self.update(x, y)
        self._reports.append(Report(self.updates + 1, values, self._norms, self.signalled))
        self._norms = []
        self.settle(keep=int(self._reads_late(self.updates + 1)))
        self.updates += 1
        self.images_seen += self.seen(len(x) * self.trainer.world_size)
        self.average_weights()
        seconds = time.perf_counter() - started
        if self.schedule.max_seconds is not None:  # all processes stop after the same update
            seconds = distributed.largest(seconds, self.device)
        self.update_seconds += seconds
        if self.finished:
            self.trainer.should_stop = True  # after a last validation

    def _keys(self, count: int) -> tuple[Tensor | Callable[[], Tensor], Callable[[int], int]]:
        """Return the keys of the noise of this process's part of the batch, and the key of a row on the host.

        The keys are a function, which the first draw of noise calls, so that an update without noise computes
        none. A compiled update gets them computed: a compiler may not see through the function.
        """
        counters, first = (self.seed, self.updates), self.global_rank * count
        keys = partial(rng.keys, *counters, count=count, first=first, device=self.device)
        return keys() if self.compiled else keys, lambda row: rng.key(*counters, row=first + row)

    def _reads_late(self, update: int) -> bool:
        """Return whether the values of an update may be read after the next one, without waiting for them."""
        read = update % self.log_every == 0 or update % self.validate_every == 0
        read |= update >= self.schedule.updates or self.schedule.max_seconds is not None
        return self.device.type in reports.LATE and not read

    def settle(self, keep: int = 0) -> None:
        """Read the values of the updates made, all but the newest ``keep``, and count how steady they are.

        The values are means over all processes, so that each of them sees when one diverges.

        Raises:
            Diverged: a value is not finite.
        """
        while len(self._reports) > keep:
            report = self._reports.popleft()
            values = report.read()
            self.latest, self.asked_to_end = values.logged, self.asked_to_end or values.signalled
            for player, norm in values.norms:
                self.stability.step(player, norm)
            self.stability.update({name: self.latest[name] for name in self.losses if name in self.latest})
            bad = [name for name, value in self.latest.items() if not math.isfinite(value)]
            if bad:
                raise Diverged(
                    f"Training diverged at update {report.update}: {bad[0]} is {self.latest[bad[0]]}; "
                    "lower training.lr or training.clip."
                )

    def seen(self, examples: int) -> int:
        """Return the number of training examples that an update has seen, of whose batch this is the size."""
        return examples

    def update(self, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """Make one update from this process's part of the batch; return values to log.

        Args:
            x: examples ``(B, *shape)`` in data space.
            y: their labels ``(B,)`` if the model is conditional.
        """
        optimizer: Any = self.optimizers()
        start, loss = rng.tell(), self.loss
        if self.settings.accumulate > 1 and self.updates == 0:
            with torch.no_grad():  # layers that are initialised by their first batch need all of it
                self.loss(x, y)
        if self.compiled_loss is not None and not self._dry_run:
            self.compiled_loss.check(x, y)
            loss = self.compiled_loss
        rng.seek(start)
        optimizer.zero_grad(set_to_none=True)
        total = self._pass_backward(loss, x, y)
        return {"train/loss": total, "train/gradient_norm": self.step(optimizer, self.model)}

    def _pass_backward(
        self, loss: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, y: Tensor | None
    ) -> Tensor:
        """Add the gradients of a loss to those of the weights; return the mean loss of the batch.

        The batch is passed in ``training.accumulate`` pieces, one after another.
        """
        pieces = self.settings.accumulate
        if pieces == 1:
            whole = loss(x, y)
            self.manual_backward(whole)
            return whole.detach()
        start = rng.tell()
        total = torch.zeros((), device=x.device)
        for piece in range(pieces):
            rows = slice(piece, None, pieces)
            rng.seek(start)  # every row gets the same noise as in the whole batch
            with rng.rows(rows):
                part = loss(x[rows], None if y is None else y[rows]) / pieces
            with distributed.without_averaging(self) if piece < pieces - 1 else nullcontext():
                self.manual_backward(part)  # the last one averages the gradients of all pieces
            total += part.detach()
        return total

    def descend(self, loss: Tensor, optimizer: Any, module: nn.Module, player: str = "model") -> Tensor:
        """Make one optimiser step down ``loss``; return the gradient norm before clipping."""
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        return self.step(optimizer, module, player)

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Add the gradients of a loss to those of the weights; several processes average them.

        Lightning's own way calls hooks around the pass, which take a few hundredths of a small update. It is
        left out where it would do nothing else.
        """
        if self._plain:
            loss.backward(*args, **kwargs)
        else:
            super().manual_backward(loss, *args, **kwargs)

    def step(self, optimizer: Any, module: nn.Module, player: str = "model") -> Tensor:
        """Make one optimiser step along the gradients, which are means over all processes.

        Args:
            optimizer: the optimiser of the module's parameters.
            module: the module with the gradients.
            player: name of the trained part, if there are several: spikes are counted for each.

        Returns:
            The norm of the gradients before clipping.
        """
        if self._dry_run:
            return torch.zeros((), device=self.device)
        distributed.check_gradients(self)
        every = [p for group in optimizer.param_groups for p in group["params"]]  # sooner than the module's
        norm = nn.utils.get_total_norm([p.grad for p in every if p.grad is not None])
        if self.settings.clip is not None:
            nn.utils.clip_grads_with_norm_(every, self.settings.clip, norm)
        factor = self.schedule.factor(self.updates, self.update_seconds)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        if self._plain:  # Lightning's own step would call hooks that do nothing here
            optimizer = getattr(optimizer, "optimizer", optimizer)
        step_if_finite(optimizer, norm)  # a step along NaN would spoil all weights
        self._norms.append((player, norm))
        return norm

    @contextmanager
    def dry_run(self) -> Iterator[None]:
        """Within the block, updates compute gradients by uncompiled code and change nothing."""
        state = copy.deepcopy(self.model.state_dict())
        self._dry_run = True
        try:
            yield
        finally:
            self._dry_run = False
            self.model.load_state_dict(state)
        self.model.zero_grad(set_to_none=True)

    def average_weights(self) -> None:
        """Move the averaged weights, if there are any, towards the current ones."""
        if self.ema is not None:
            self.ema.update_parameters(self.model)

    def pass_evaluated(self, x: Tensor, y: Tensor | None) -> object:
        """Send a batch through the evaluated model as the objective does, for the layers' statistics."""
        return self.validation_values(x, y)

    def collect_averaged_statistics(self, batches: Iterable[Batch]) -> None:
        """Give the averaged weights running statistics of their own, from batches of the training set.

        Until then they have the statistics of the raw weights.
        """
        if self.ema is not None:
            passes = (partial(self.pass_evaluated, *unpack(batch)) for batch in batches)
            collect_statistics(self.ema.module, passes)

    # Validation -----------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self.validation.begin()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.validation.add(*unpack(batch), self.validation_values, self.negative_log_likelihood)

    def on_validation_epoch_end(self) -> None:
        self.latest |= self.validation.means(self.device, self.updates)
        if "val/loss" in self.latest:
            self.stability.validation("val/loss", self.updates, self.latest["val/loss"])
            self.validation.judge(self.latest["val/loss"], self.updates)
            if self.validation.stopped:
                self.trainer.should_stop = True

    # Checkpoints ----------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.settle()
        checkpoint.setdefault("zoo", {}).update(
            updates=self.updates,
            images_seen=self.images_seen,
            update_seconds=self.update_seconds,
            stability=self.stability.state_dict(),
            weights="ema" if self.ema is not None else "raw",
            **self.validation.state_dict(),
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.resume(checkpoint)

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Continue from the updates and examples of a checkpoint's content; Lightning loads the weights."""
        progress = checkpoint["zoo"]
        self.updates, self.images_seen = progress["updates"], progress["images_seen"]
        self.update_seconds = progress["update_seconds"]
        self.stability.load_state_dict(progress["stability"])
        self.validation.load_state_dict(progress)


def unpack(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Return a batch's examples, and its labels or None."""
    return (batch, None) if isinstance(batch, Tensor) else (batch[0], batch[1])


def label_argument(y: Tensor | None) -> dict[str, Tensor]:
    """Return labels as the keyword argument of a conditional model; nothing for None."""
    return {} if y is None else {"y": y}


def hash_seed(*counters: int) -> int:
    """Return a seed for torch's generator, computed from several counters."""
    return rng.mix_integer(rng.stream(*counters)) % 2**63


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and of a device.

    ``torch.manual_seed`` does so for every kind of device, and where one is not in use it keeps the call and
    its whole stack for later, which takes longer than a small update.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def require(model: nn.Module, objective: str, protocol: type) -> None:
    """Raise :class:`ZooError` unless the model has the methods that the objective needs."""
    if names := missing(model, protocol):
        raise ZooError(
            f"training={objective} needs a model with {' and '.join(names)}; {type(model).__name__} has "
            f"none; use training={declared(model).objective}."
        )
