"""Prefetched batches: the same ones in the same order, each begun while the one before is worked on."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
import torch

from zoo.data.toys import Toy
from zoo.training.prefetch import Prefetched, prefetched

CPU = torch.device("cpu")


def identity(batch):
    return batch


def loader(start=0, stop=20):
    data = Toy("moons", train=50, val=10, test=10)
    data.setup()
    return data.train_dataloader(8, seed=3, start=start, stop=stop)


@pytest.mark.parametrize("start", [0, 7, 20])
def test_the_batches_are_the_same_in_the_same_order_from_any_update(start):
    plain, ahead = list(loader(start)), list(Prefetched(loader(start), identity, identity))
    assert len(ahead) == len(plain) == 20 - start
    assert all(torch.equal(one, other) for one, other in zip(ahead, plain, strict=True))
    whole = list(Prefetched(loader(), identity, identity))
    assert all(torch.equal(one, other) for one, other in zip(ahead, whole[start:], strict=True))


def test_the_next_batch_is_begun_while_the_present_one_is_worked_on():
    events, begun = [], {i: threading.Event() for i in range(5)}

    def begin(batch):
        assert threading.current_thread().name.startswith("prefetch")
        events.append(("begin", batch))
        begun[batch].set()
        return batch

    def finish(batch):
        assert threading.current_thread() is threading.main_thread()
        events.append(("finish", batch))

    for batch in Prefetched(range(5), begin, finish):
        if batch < 4:
            assert begun[batch + 1].wait(10), "begun before the caller asks for it"
        assert not any(batch + 2 <= i for kind, i in events if kind == "begin"), "one ahead, not more"
        events.append(("use", batch))
    for i in range(5):
        assert events.index(("begin", i)) < events.index(("finish", i)) < events.index(("use", i))


def test_an_error_of_a_batch_reaches_the_caller_at_its_place():
    def broken():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    batches = iter(Prefetched(broken(), identity, identity))
    assert [next(batches), next(batches)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)


def test_no_thread_is_left_when_training_ends_early():
    batches = iter(Prefetched(loader(), identity, identity))
    next(batches)
    assert any(thread.name.startswith("prefetch") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_off_the_gpu_nothing_changes():
    batches = loader()
    assert prefetched(batches, CPU) is batches
    assert prefetched(batches, torch.device("mps")) is batches


class FakeStream:
    def __init__(self, events, name):
        self.events, self.name = events, name

    def wait_stream(self, other):
        self.events.append(f"{self.name} waits for {other.name}")


class FakeTensor(torch.Tensor):
    """A tensor whose copies to a GPU are only noted."""

    events: list[str]

    def pin_memory(self, device=None):
        self.events.append("pin")
        return self

    def to(self, device, non_blocking=False):
        self.events.append(f"copy to {device}, non_blocking={non_blocking}")
        return self

    def record_stream(self, stream):
        self.events.append(f"keep for {stream.name}")


@pytest.mark.parametrize("labels", [False, True])
def test_a_batch_is_pinned_then_copied_without_waiting_and_then_waited_for(monkeypatch, labels):
    """The calls in their order; that they overlap with an update shows only on a GPU."""
    events: list[str] = []
    FakeTensor.events = events
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream(events, "copies"))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext(events.append(f"on {stream.name}")))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: FakeStream(events, "updates"))
    x = torch.zeros(2, 2).as_subclass(FakeTensor)
    batch = (x, x) if labels else x
    device = torch.device("cuda", 1)
    (copied,) = prefetched([batch], device)
    assert type(copied) is type(batch)
    times = 2 if labels else 1
    assert events == [
        "on copies",
        *["pin", "copy to cuda:1, non_blocking=True"] * times,
        "updates waits for copies",
        *["keep for updates"] * times,
    ]


def test_a_run_trains_on_prefetched_batches(monkeypatch, tmp_path):
    """A whole run whose batches go through the thread ends with the weights of one whose batches do not."""
    from zoo.config import compose_run
    from zoo.running.run import run

    settings = [
        "model=maf", "data=moons", "logger=none", "trainer=cpu", "data.train=100", "data.val=20",
        "data.test=20",
        "model.hidden=[8]", "training.updates=12", "training.batch_size=16", "training.validations=3",
        "evaluation.samples=20", "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1",
        "evaluation.throughput_batches=[4]", "evaluation.time_limit_seconds=0.01",
    ]  # fmt: skip
    weights, copies = [], []
    for name in ("plain", "ahead"):
        run(compose_run([*settings, f"hydra.run.dir={tmp_path / name}"]), tmp_path / name)
        state = torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        weights.append(state)
        monkeypatch.setattr(
            "zoo.running.fit.prefetched",
            lambda batches, device: Prefetched(batches, lambda x: copies.append(1) or x, identity),
        )
    assert len(copies) >= 12
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
