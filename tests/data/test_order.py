"""Tests of the order of training examples, the batches and each rank's part of them."""

from __future__ import annotations

import pytest
import torch

from zoo import ranks
from zoo.data.order import batch_indices, epoch_order
from zoo.data.toys import Toy
from zoo.errors import InvalidData, ZooError


def stream(seed, batch_size, n, updates, start=0):
    return torch.cat([batch_indices(seed, update, batch_size, n) for update in range(start, updates)])


@pytest.mark.parametrize(("batch_size", "n"), [(4, 12), (5, 12), (30, 12), (12, 12), (1, 3)])
def test_every_epoch_is_a_permutation(batch_size, n):
    indices = stream(3, batch_size, n, updates=5 * n)
    epochs = indices[: len(indices) // n * n].view(-1, n)
    assert (epochs.sort(1).values == torch.arange(n)).all()
    assert len(epochs.unique(dim=0)) > 1


def test_the_order_depends_only_on_seed_and_update():
    assert torch.equal(stream(0, 5, 12, 20)[35:], stream(0, 5, 12, 20, start=7))
    assert not torch.equal(stream(0, 5, 12, 20), stream(1, 5, 12, 20))
    batch_indices(0, 0, 12, 12).zero_()  # a copy
    assert epoch_order(0, 0, 12).sort().values.equal(torch.arange(12))


def toy():
    data = Toy("moons", train=100, val=31, test=20)
    data.setup()
    return data


def test_batches_of_a_resumed_run_are_those_of_an_uninterrupted_one():
    whole = list(toy().train_dataloader(32, seed=1, stop=10))
    rest = list(toy().train_dataloader(32, seed=1, start=6, stop=10))
    assert [len(x) for x in whole] == [32] * 10
    assert torch.equal(torch.cat(whole[6:]), torch.cat(rest))


def test_training_batches_have_no_end_by_default():
    batches = iter(toy().train_dataloader(64))
    assert all(next(batches).shape == (64, 2) for _ in range(9))


def test_ranks_share_the_global_batch(monkeypatch):
    data = toy()
    alone = list(data.train_dataloader(24, stop=3))
    shares, val = [], []
    for rank in range(3):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(ranks, "world_size", lambda: 3)
        shares.append(list(data.train_dataloader(24, stop=3)))
        val.append(torch.cat(list(data.val_dataloader(24))))
    for update, batch in enumerate(alone):
        assert torch.equal(batch, torch.cat([share[update] for share in shares]))
    assert sorted(torch.cat(val).tolist()) == sorted(data.splits["val"].tolist())  # no padding
    with pytest.raises(ZooError, match="25 cannot be shared by 3"):
        next(iter(data.train_dataloader(25)))


def test_validation_examples_come_in_order():
    data = toy()
    assert torch.equal(torch.cat(list(data.val_dataloader(8))), data.splits["val"])


def test_values_outside_the_spec_are_an_error():
    data = Toy("moons", train=10, val=0, test=10)
    with pytest.raises(InvalidData, match="val split of moons is empty"):
        data.setup()
