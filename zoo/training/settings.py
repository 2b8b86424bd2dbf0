"""The settings of a training module, as they stand in ``conf/training/*.yaml``."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.checks import NotNegative, NotNegativeFloat, Positive, PositiveFloat, Share, settings
from zoo.errors import ZooError
from zoo.training.optimizers import OptimizerName
from zoo.training.schedule import Shape

ROWS = 2000  # largest number of rows of a run's curves; 10,000 runs of 100,000 rows are no table for W&B


def validated_every(updates: int, validations: int) -> int:
    """Return the updates between two validations; the last update has one too.

    >>> validated_every(10_000, 20), validated_every(3999, 2000), validated_every(50, 0)
    (500, 1, 50)
    """
    return max(1, updates // max(1, validations))


def logged_every(log_every: int, updates: int, validations: int) -> int:
    """Return the updates between two rows: the least multiple of ``log_every`` within :data:`ROWS`.

    Args:
        log_every: the setting.
        updates: number of updates of the run.
        validations: the setting. There may be almost twice as many, since a whole number of updates lies
            between two of them. Each has a row.

    Raises:
        ZooError: the validations alone have more rows than that.

    >>> logged_every(10, 10_000, 20), logged_every(10, 2_000_000, 20), logged_every(7, 20_000, 0)
    (10, 1020, 14)
    """
    between = validated_every(updates, validations)
    made = -(-updates // between)
    if made > ROWS:
        raise ZooError(
            f"training.validations={validations} makes {made} validations in {updates} updates, one every "
            f"{between}, and a run has at most {ROWS} of them; set training.validations={_most(updates)} or "
            "fewer."
        )
    rows = max(1, ROWS - made)
    return log_every * max(1, -(-updates // (rows * log_every)))


def _most(updates: int) -> int:
    """Return the largest number of validations, as a setting, that are at most :data:`ROWS`."""
    return updates // -(-updates // ROWS)


@settings
class TrainingSettings:
    """The settings that all training modules share, with the defaults of maximum likelihood.

    Attributes:
        updates: the budget of updates.
        batch_size: examples of the global batch.
        optimizer, lr, betas, weight_decay, eps: name and settings of the optimiser, see
            :class:`~zoo.training.optimizers.Optimizer`.
        schedule, warmup: shape of the learning rate's course, after so many updates of linear warm-up; see
            :class:`~zoo.training.schedule.Schedule`.
        clip: largest gradient norm; None for no clipping.
        ema: decay of the averaged weights, which are then the ones evaluated; 0 for none. See
            :func:`~zoo.training.averaging.averaged_copy`. Before each validation, batch normalisation with
            running statistics gets those of the averaged weights.
        max_seconds: a second budget, of seconds spent in updates (validation and checkpoints excluded, the
            segments of a resumed run added); training ends, with a validation, when either is used up. How
            many updates fit depends on the machine, and so does the schedule's course: a run under a budget
            of time resumes, but does not repeat, bit for bit. None: no such budget.
        validations: number of validations, evenly spread over the budget of updates, at most :data:`ROWS`
            (see :func:`logged_every`). The best one chooses the checkpoint that is evaluated.
        patience: training ends after so many validations in a row without an improvement, and the best
            checkpoint is evaluated ("early stopping", "look-ahead"). None: it ends with the budget.
        patience_start: the update from which on validations without an improvement are counted, such as the
            end of a warm-up.
        validate_likelihood: validation examples whose likelihood is computed at each validation too, where
            the criterion is another one, so that the curves of all models compare. 0: none.
        validate_samples: samples, from the same latents each time, whose energy distance to as many
            validation examples is a curve too (:class:`~zoo.training.callbacks.SampleDistance`). It chooses
            no checkpoint. 0: none.
        log_every: updates between two logged values. A run of more than :data:`ROWS` rows logs more seldom:
            see :func:`logged_every`.
        accumulate: pieces that each process's part of a batch is split into, to save memory. The gradients
            add up to those of the whole batch, except for batch norm and torch's own dropout.
        compile: let torch compile the loss, and check its gradients first; see
            :class:`~zoo.training.compile.CompiledLoss`.
    """

    updates: Positive
    batch_size: Positive
    optimizer: OptimizerName = "adam"
    lr: NotNegativeFloat = 1e-3
    betas: Sequence[Share] = (0.9, 0.999)
    weight_decay: NotNegativeFloat = 0.0
    eps: PositiveFloat | None = None
    schedule: Shape = "cosine"
    warmup: NotNegative = 50
    clip: PositiveFloat | None = 1.0
    ema: Share = 0.0
    max_seconds: PositiveFloat | None = None
    validations: NotNegative = 20
    patience: Positive | None = None
    patience_start: NotNegative = 0
    validate_likelihood: NotNegative = 0
    validate_samples: NotNegative = 0
    log_every: Positive = 10
    accumulate: Positive = 1
    compile: bool = False
