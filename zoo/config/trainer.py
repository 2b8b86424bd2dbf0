"""The settings of Lightning's trainer that zoo has settings of its own for."""

from __future__ import annotations

from zoo.errors import ZooError

_UPDATES = "the budget is training.updates="
_DATA = f"{_UPDATES}, and data are shortened by settings of their own"
_VALIDATIONS = "the number of validations is training.validations="
_JUDGED = "evaluation.samples= and evaluation.likelihood_examples= are what a model is judged on"
_CLIP = "gradients are clipped by training.clip="
# What does the same in zoo, by the name of Lightning's setting.
INSTEAD = {
    **dict.fromkeys(("max_steps", "min_steps", "max_epochs", "min_epochs", "fast_dev_run"), _UPDATES),
    **dict.fromkeys(("limit_train_batches", "overfit_batches"), _DATA),
    "max_time": "a budget of time is training.max_seconds=",
    **dict.fromkeys(("limit_val_batches", "val_check_interval", "check_val_every_n_epoch"), _VALIDATIONS),
    "num_sanity_val_steps": _VALIDATIONS,
    **dict.fromkeys(("limit_test_batches", "limit_predict_batches"), _JUDGED),
    "accumulate_grad_batches": "gradients are accumulated by training.accumulate=",
    **dict.fromkeys(("gradient_clip_val", "gradient_clip_algorithm"), _CLIP),
    "log_every_n_steps": "the rows of the curves are set by training.log_every=",
    "logger": "a logger is chosen by logger=",
    "default_root_dir": "the directory of a run is hydra.run.dir=",
}


def refused(name: str) -> ZooError:
    """Return the error for a setting of Lightning's trainer that zoo does not take.

    >>> str(refused("max_steps"))
    'There is no setting trainer.max_steps in zoo; the budget is training.updates=.'
    """
    instead = INSTEAD.get(name, "runs set it themselves, so leave it out")
    return ZooError(f"There is no setting trainer.{name} in zoo; {instead}.")
