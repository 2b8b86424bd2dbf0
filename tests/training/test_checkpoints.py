"""Checkpoints on the disk: one file with two names, never half a file."""

from __future__ import annotations

import copy
import errno
import os
import resource
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from forks import Fork
from torch import nn

from zoo.errors import cut_off
from zoo.training import distributed
from zoo.training.checkpoints import CheckpointFiles, Checkpoints, snapshot, write_checkpoint


class Trainer:
    """Stands in for Lightning's: its checkpoints hold the number of the save."""

    def __init__(self, background=False):
        self.saves, self.files = 0, CheckpointFiles(background=background)

    def save_checkpoint(self, path, storage_options=None):
        self.saves += 1
        self.files.save_checkpoint({"number": self.saves}, path, storage_options)

    def checkpoints(self, directory):
        return Checkpoints(directory, self.files)


@pytest.fixture(params=[False, True], ids=["at once", "in the background"])
def trainer(request):
    made = Trainer(request.param)
    yield made
    made.files.teardown()


def until(find):
    """Call a function until it raises, for some seconds."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        find()


def save_and_wait(checkpoints, trainer):
    checkpoints.save(trainer, better=True)
    trainer.files.wait()


def numbers(directory):
    files = [path for path in directory.glob("*.ckpt") if not path.name.startswith(".")]
    return {path.stem: torch.load(path, weights_only=True)["number"] for path in files}


def test_a_better_checkpoint_is_one_file_under_both_names(tmp_path, trainer):
    checkpoints = trainer.checkpoints(tmp_path)
    for better, expected in [
        (True, (1, 1)),
        (False, (1, 2)),
        (False, (1, 3)),
        (True, (4, 4)),
        (True, (5, 5)),
    ]:
        checkpoints.save(trainer, better=better)
        trainer.files.wait()
        assert numbers(tmp_path) == dict(zip(("best", "last"), expected, strict=True))
        assert (tmp_path / "best.ckpt").samefile(tmp_path / "last.ckpt") == better


def test_a_better_checkpoint_is_copied_where_there_are_no_hard_links(tmp_path, trainer, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    trainer.checkpoints(tmp_path).save(trainer, better=True)
    trainer.files.wait()
    assert numbers(tmp_path) == {"best": 1, "last": 1}
    assert not (tmp_path / "best.ckpt").samefile(tmp_path / "last.ckpt")


@pytest.mark.parametrize("moment", [0, 1])
def test_a_process_killed_while_it_names_a_checkpoint_leaves_whole_files(tmp_path, trainer, moment):
    checkpoints = trainer.checkpoints(tmp_path)
    checkpoints.save(trainer, better=True)
    trainer.files.teardown()  # a fork has no threads
    replace, calls = os.replace, []

    def kill(*names):
        calls.append(names)
        if len(calls) > moment:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*names)

    def save():
        os.replace = kill
        checkpoints.save(trainer, better=True)
        trainer.files.wait()
        return 0

    assert Fork(save).wait() == -signal.SIGKILL
    assert numbers(tmp_path) == {"best": 1 + moment, "last": 1}
    left = {path.name for path in tmp_path.iterdir()} - {"best.ckpt", "last.ckpt"}
    assert left
    assert left <= {".last.ckpt", ".best.ckpt"}, "zoo.record removes them when the run is resumed"
    trainer.saves = 2
    checkpoints.save(trainer, better=True)
    trainer.files.wait()
    assert len(list(tmp_path.iterdir())) == 2
    assert numbers(tmp_path) == {"best": 3, "last": 3}


def test_an_error_of_the_disk_leaves_the_last_checkpoint_and_no_half_one(tmp_path, trainer, monkeypatch):
    checkpoints = trainer.checkpoints(tmp_path)
    checkpoints.save(trainer, better=True)
    trainer.files.wait()

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save_and_wait(checkpoints, trainer)
    assert numbers(tmp_path) == {"best": 1, "last": 1}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("limit", [100, 5_000, 50_000])
@pytest.mark.parametrize("values", [25_000, 500_000])
def test_a_disk_that_fills_during_a_write_is_told_apart_from_an_error_of_the_run(tmp_path, limit, values):
    """A limit of a file's size fails like a full disk, somewhere within torch's zip writer."""
    file = tmp_path / "last.ckpt"
    write_checkpoint({"values": torch.zeros(5)}, file)
    old = file.read_bytes()

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write_checkpoint({"values": torch.randn(values), "list": list(range(99))}, file)
        except OSError as error:
            return 0 if "disk is full" in cut_off(error) else 3
        return 2

    assert Fork(fill).wait() == 0
    assert file.read_bytes() == old
    assert list(tmp_path.iterdir()) == [file]


class Gate:
    """Holds every write in the background until it is opened."""

    def __init__(self, monkeypatch):
        self.opened, self.reached, save = threading.Event(), threading.Event(), torch.save

        def held(*arguments):
            self.reached.set()
            assert self.opened.wait(30)
            save(*arguments)

        monkeypatch.setattr(torch, "save", held)


@pytest.fixture
def gate(monkeypatch):
    made = Gate(monkeypatch)
    yield made
    made.opened.set()


def test_updates_during_a_write_do_not_change_what_is_written(tmp_path, gate):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters())
    losses = []

    def update():
        optimizer.zero_grad()
        loss = model(torch.randn(8, 3)).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    update()
    content = {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
    expected = copy.deepcopy(content)
    files = CheckpointFiles(background=True)
    files.save_checkpoint(content, tmp_path / "last.ckpt")
    for _ in range(3):
        update()
    assert not (tmp_path / "last.ckpt").exists()
    gate.opened.set()
    files.wait()
    written = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert written["losses"] == expected["losses"] != losses
    for name, value in expected["state_dict"].items():
        assert torch.equal(written["state_dict"][name], value)
        assert not torch.equal(written["state_dict"][name], model.state_dict()[name])
    moments = [state["optimizer"]["state"][0]["exp_avg"] for state in (written, expected)]
    assert torch.equal(*moments)
    assert not torch.equal(moments[0], optimizer.state_dict()["state"][0]["exp_avg"])


def test_a_copy_keeps_what_is_shared_and_the_versions_of_modules():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    state = model.state_dict()
    state["tied"], state["part"] = state["0.weight"].view(2, 2), state["0.weight"][0]
    copied = snapshot({"a": [state], "b": (1, None)})
    assert copied["b"] == (1, None)
    assert vars(copied["a"][0]) == vars(state)
    assert copied["a"][0]["tied"] is copied["a"][0]["0.weight"]
    assert copied["a"][0].keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(copied["a"][0][name], value)
        assert copied["a"][0][name].data_ptr() != value.data_ptr()


def test_one_write_at_a_time_and_the_next_waits_for_it(tmp_path, gate):
    trainer = Trainer(background=True)
    checkpoints = trainer.checkpoints(tmp_path)
    checkpoints.save(trainer, better=True)
    assert gate.reached.wait(30)
    second = threading.Thread(target=checkpoints.save, args=(trainer,))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    gate.opened.set()
    second.join(30)
    trainer.files.wait()
    assert numbers(tmp_path) == {"best": 1, "last": 2}


def test_an_error_in_the_background_is_raised_in_training_at_the_next_update(tmp_path, monkeypatch):
    trainer = Trainer(background=True)
    checkpoints = trainer.checkpoints(tmp_path)

    def fail(*_):
        raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fail)
    for find in (
        lambda: checkpoints.on_train_batch_end(None, None, None, None, 0),  # perhaps not the next one
        lambda: checkpoints.on_train_end(None, None),
        lambda: checkpoints.save(trainer),
    ):
        checkpoints.save(trainer)
        with pytest.raises(RuntimeError, match="PytorchStreamWriter") as error:
            until(find)
        assert "disk is full" in cut_off(error.value)
        checkpoints.on_train_end(None, None)  # it is raised once
    checkpoints.save(trainer)
    trainer.files.teardown()  # another error has ended training


def test_a_lost_rank_does_not_cut_a_write_short(monkeypatch):
    """Rank 0 ends itself when another rank is lost, but not while it writes a checkpoint."""
    ended = []
    monkeypatch.setattr(distributed, "GRACE", 0.0)
    monkeypatch.setattr(os, "_exit", ended.append)
    other = subprocess.Popen(["false"])
    with distributed.WRITING:
        watch = threading.Thread(target=distributed.watch, args=([other], lambda codes: 75))
        watch.start()
        watch.join(0.8)
        assert watch.is_alive()
        assert not ended
    watch.join(30)
    assert ended == [75]


@pytest.mark.parametrize("background", [False, True])
def test_a_write_is_protected_from_the_moment_it_is_asked_for(background, tmp_path, monkeypatch):
    """A checkpoint counts as being written from the call, although its thread may begin later."""
    files, go = CheckpointFiles(background=background), threading.Event()
    if background:
        busy = ThreadPoolExecutor(1)
        busy.submit(go.wait)
        monkeypatch.setattr("zoo.training.checkpoints.ThreadPoolExecutor", lambda *_: busy)
        files.save_checkpoint({"number": 1}, tmp_path / "last.ckpt")
        assert distributed.WRITING.locked()
        assert not (tmp_path / "last.ckpt").exists()
    go.set()
    files.wait()
    assert not distributed.WRITING.locked()

    def fail(*_):
        assert distributed.WRITING.locked()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    for name in ("torch.save", "zoo.training.checkpoints.snapshot")[: 1 + background]:
        monkeypatch.setattr(name, fail)
        with pytest.raises(OSError, match="No space"):  # noqa: PT012
            files.save_checkpoint({"number": 2}, tmp_path / "last.ckpt")
            files.wait()  # raises the error of the writing thread
        assert not distributed.WRITING.locked()
    files.teardown()
