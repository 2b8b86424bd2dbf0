"""Checkpoints on the disk: one file with two names, never half a file."""

from __future__ import annotations

import errno
import os
import signal

import pytest
import torch
from forks import Fork

from zoo.training.checkpoints import CheckpointFiles, Checkpoints


class Trainer:
    """Stands in for Lightning's: its checkpoints hold the number of the save."""

    is_global_zero = True

    def __init__(self):
        self.saves = 0

    def save_checkpoint(self, path):
        self.saves += 1
        CheckpointFiles().save_checkpoint({"number": self.saves}, path)


def numbers(directory):
    return {path.stem: torch.load(path, weights_only=True)["number"] for path in directory.glob("*.ckpt")}


def test_a_better_checkpoint_is_one_file_under_both_names(tmp_path):
    checkpoints, trainer = Checkpoints(tmp_path), Trainer()
    for better, expected in [
        (True, (1, 1)),
        (False, (1, 2)),
        (False, (1, 3)),
        (True, (4, 4)),
        (True, (5, 5)),
    ]:
        checkpoints.save(trainer, better=better)
        assert numbers(tmp_path) == dict(zip(("best", "last"), expected, strict=True))
        assert (tmp_path / "best.ckpt").samefile(tmp_path / "last.ckpt") == better


def test_a_better_checkpoint_is_copied_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    Checkpoints(tmp_path).save(Trainer(), better=True)
    assert numbers(tmp_path) == {"best": 1, "last": 1}
    assert not (tmp_path / "best.ckpt").samefile(tmp_path / "last.ckpt")


@pytest.mark.parametrize("moment", [0, 1])
def test_a_process_killed_while_it_names_a_checkpoint_leaves_whole_files(tmp_path, moment):
    checkpoints, trainer = Checkpoints(tmp_path), Trainer()
    checkpoints.save(trainer, better=True)
    replace, calls = os.replace, []

    def kill(*names):
        calls.append(names)
        if len(calls) > moment:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*names)

    def save():
        os.replace = kill
        checkpoints.save(trainer, better=True)
        return 0

    assert Fork(save).wait() == -signal.SIGKILL
    left = {name: number for name, number in numbers(tmp_path).items() if not name.startswith(".")}
    assert left == {"best": 1 + moment, "last": 1}
    trainer.saves = 2
    checkpoints.save(trainer, better=True)
    assert numbers(tmp_path) == {"best": 3, "last": 3}


def test_an_error_of_the_disk_leaves_the_last_checkpoint_and_no_half_one(tmp_path, monkeypatch):
    checkpoints, trainer = Checkpoints(tmp_path), Trainer()
    checkpoints.save(trainer, better=True)

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(trainer, better=True)
    assert numbers(tmp_path) == {"best": 1, "last": 1}
