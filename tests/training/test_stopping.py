"""Early stopping by patience: when it ends, what it evaluates, and that it resumes."""

from __future__ import annotations

from typing import ClassVar

import lightning.pytorch as pl
import pytest
import torch
from fitting import Line, batches, trainer

import zoo
from zoo.training.checkpoints import CheckpointFiles, Checkpoints
from zoo.training.likelihood import MaximumLikelihood

PLANE = zoo.DataSpec((2,))


class Course(MaximumLikelihood):
    """A training whose validation losses are given."""

    course: ClassVar[list[float]] = []

    def validation_values(self, x, y):
        return torch.full((len(x),), self.course[self.updates // self.validate_every - 1])


class Half(pl.Callback):
    """Keeps the checkpoint of update 10, as of a run that was cut off there."""

    def __init__(self, path):
        self.path = path

    def on_validation_end(self, trainer, pl_module):
        if pl_module.updates == 10:
            trainer.save_checkpoint(self.path)


def train(tmp_path, course, path=None, **settings):
    module = Course(
        Line(PLANE), updates=2 * len(course), batch_size=4, validations=len(course), warmup=0, **settings
    )
    module.course = course
    if path is not None:
        checkpoint = torch.load(path, weights_only=True)
        module.resume(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    files = CheckpointFiles()
    callbacks = (Checkpoints(tmp_path, files), Half(tmp_path / "half.ckpt"))
    fit = trainer(
        *callbacks, plugins=[files], val_check_interval=module.validate_every, check_val_every_n_epoch=None
    )
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    fit.fit(module, batches(x, 4, module.settings.updates, first=module.updates), batches(x, 4, 1))
    return module


def kept(tmp_path, name):
    return torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["zoo"]


COURSE = [5.0, 4.0, 4.5, 3.0, 3.5, 3.0, 3.1, 2.0, 1.0]


@pytest.mark.parametrize(
    ("patience", "start", "ends", "best"),
    [
        (None, 0, 18, 18),
        (1, 0, 6, 4),  # the third validation is not better than the second
        (3, 0, 14, 8),  # an equal loss is no improvement
        (4, 0, 18, 18),
        (1, 8, 10, 8),  # what happens before the start is not counted
        (3, 10, 18, 18),  # 3 validations after update 10 end at the improvement
        (2, 10, 14, 8),
    ],
)
def test_training_ends_after_the_patience_and_the_best_checkpoint_is_kept(
    tmp_path, patience, start, ends, best
):
    module = train(tmp_path, COURSE, patience=patience, patience_start=start)
    assert (module.updates, module.validation.best_updates) == (ends, best)
    assert module.validation.stopped == (ends < 18)
    assert kept(tmp_path, "best")["updates"] == best
    assert kept(tmp_path, "last")["updates"] == ends


def test_a_resumed_training_stops_where_an_uninterrupted_one_does(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    train(tmp_path / "first", COURSE, patience=3)
    module = train(tmp_path / "second", COURSE, path=tmp_path / "first" / "half.ckpt", patience=3)
    assert (module.updates, module.validation.best_updates, module.validation.stopped) == (14, 8, True)
    ended = Course(Line(PLANE), updates=18, batch_size=4, patience=3)
    ended.resume(torch.load(tmp_path / "second" / "last.ckpt", weights_only=True))
    assert ended.finished, "a run that was stopped has ended"
