"""Several processes do what one would: weights, evaluation, noise; and they fail together."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import queue
import signal
import socket
import time

import pytest
import torch

from zoo.config import compose_run
from zoo.errors import ZooError
from zoo.record import read
from zoo.run import run

SMALL = [
    "logger=none", "training.updates=6", "training.batch_size=24", "training.validations=2",
    "training.warmup=0", "training.schedule=constant", "evaluation.samples=30",
    "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1", "evaluation.throughput_batches=[4]",
    "evaluation.time_limit_seconds=0.01",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
MOONS = ["data=moons", "data.train=200", "data.val=25", "data.test=40"]
# Adam makes a step of full length of a gradient that is zero but for rounding, which the biases before a
# normalisation have; there plain descent shows what the gradients are.
PLAIN = ["training.optimizer=sgd", "training.lr=0.05"]
CASES = {
    "maximum likelihood, actnorm": ["model=glow", *MOONS, "model.hidden=[8]", *PLAIN],
    "batch statistics of a flow": ["model=realnvp", *MOONS, "model.hidden=[8]",
                                   "model.normalisation=batchnorm", *PLAIN],
    "batch statistics": ["model=vae", "data=digits", "model.norm=batch", "model.width=4", *PLAIN],
    "two optimisers, averaged weights": ["model=gan", *MOONS, "model.hidden=8", "training.ema=0.9"],
    "critic steps": ["model=gan", *MOONS, "model.hidden=8", "training.critic_steps=2"],
    "matching": ["model=flow_matching", *MOONS, "model.hidden=[8]", "model.solver=rk4", "model.steps=3"],
    "adjoint": ["model=ffjord", *MOONS, "model.hidden=[8]", "model.solver=rk4", "model.steps=3",
                "model.adjoint=true"],
    "accumulation": ["model=maf", *MOONS, "training.accumulate=2"],
}  # fmt: skip
DIGITS = ["data=digits", "evaluation.likelihood_examples=8", *PLAIN]
ON_IMAGES = {
    "sngan, augmented": ["model=sngan", *DIGITS, "model.width=4", "model.latent_dim=4",
                         "training.augment=[colour,translation,cutout]"],
    # its critic's loss has no bound: steps of 0.05 would blow up what rounds differently
    "wgan_gp": ["model=wgan_gp", *DIGITS[:-1], "training.lr=0.001", "model.width=4", "model.latent_dim=4"],
    "diffusion": ["model=diffusion", *DIGITS, "model.unet.channels=4", "model.terms=2",
                  "model.sample_steps=2", "model.conditional=true"],
    "pixelcnn_pp": ["model=pixelcnn_pp", *DIGITS, "model.width=4", "model.components=2"],
    "vae_hierarchical": ["model=vae_hierarchical", *DIGITS, "model.width=4"],
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def as_rank(rank, world, ports, tasks, results):
    """One rank as torchrun starts it; its tasks one after another."""
    torch.set_num_threads(1)
    found = []
    for port, (overrides, directory) in zip(ports, tasks, strict=True):
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
            GROUP_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test",
        )  # fmt: skip
        if callable(overrides):
            overrides = overrides(rank)
        try:
            run(compose_run(overrides), directory)
            found.append(None)
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # as the end of the process would
    results.put((rank, found))


def in_ranks(tasks, world=2, timeout=150):
    """Run ``(overrides, directory)`` after another in forked ranks; what each rank raised, task by task."""
    context = multiprocessing.get_context("fork")
    ports, results = [free_port() for _ in tasks], context.Queue()
    processes = [
        context.Process(target=as_rank, args=(rank, world, ports, tasks, results)) for rank in range(world)
    ]
    for process in processes:
        process.start()
    try:
        found, deadline = {}, time.monotonic() + timeout
        while len(found) < world and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                rank, errors = results.get(timeout=0.2)
                found[rank] = errors
            if any(p.exitcode == -signal.SIGKILL for p in processes) and len(found) == world - 1:
                break  # one was killed
    finally:
        for process in processes:
            process.join(5)
            process.kill()
    return [[found.get(rank, [None] * len(tasks))[i] for rank in range(world)] for i in range(len(tasks))]


def by_one_and_by_two(cases, place):
    """Every case trained by one process and by two; where their runs are."""
    one, two = place / "one", place / "two"
    for name, overrides in cases.items():
        whole = [o for o in overrides if "accumulate" not in o]
        run(compose_run([*whole, *SMALL, "trainer=cpu"]), one / name)
    errors = in_ranks([([*o, *SMALL, *TWO], two / name) for name, o in cases.items()])
    assert errors == [[None, None]] * len(cases)
    return one, two


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return by_one_and_by_two(CASES, tmp_path_factory.mktemp("ddp"))


@pytest.fixture(scope="module")
def pairs_on_images(tmp_path_factory):
    return by_one_and_by_two(ON_IMAGES, tmp_path_factory.mktemp("ddp-images"))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_and_evaluate_like_one(pairs, name):
    check_equal(pairs, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_IMAGES)
def test_two_processes_train_and_evaluate_image_models_like_one(pairs_on_images, name):
    check_equal(pairs_on_images, name)


def check_equal(pairs, name):
    checkpoints = [
        torch.load(root / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for root in pairs
    ]
    assert checkpoints[0].keys() == checkpoints[1].keys()
    for key, value in checkpoints[0].items():
        torch.testing.assert_close(
            checkpoints[1][key], value, atol=1e-5, rtol=1e-5, msg=lambda m, k=key: f"{k}: {m}"
        )
    records = [json.loads((root / name / "record.json").read_text()) for root in pairs]
    assert {r["status"] for r in records} == {"finished"}
    for metric, value in records[0]["metrics"].items():
        if value["value"] is not None:
            assert records[1]["metrics"][metric]["value"] == pytest.approx(value["value"], rel=1e-3, abs=1e-4)
    assert records[0]["cost"]["images_seen"] == records[1]["cost"]["images_seen"]


def different_seeds(rank):
    return ["model=maf", *MOONS, *SMALL, *TWO, f"seed={rank}"]


def fails_on_rank_one(rank):
    from zoo.training.rule import Rule

    def fail(self):
        raise ValueError("nothing is left")

    if rank == 1:
        Rule._average = fail
    return ["model=maf", *MOONS, *SMALL, *TWO]


def test_processes_that_do_not_fit_together_are_refused_before_anything_is_trained(tmp_path):
    uneven = ["model=maf", *MOONS, *SMALL, *TWO, "training.batch_size=25"]
    three = ["model=maf", *MOONS, *SMALL, *TWO, "trainer.devices=3"]
    tasks = [(different_seeds, tmp_path / "a"), (uneven, tmp_path / "b"), (three, tmp_path / "c")]
    paired = ["model=flow_matching", "model.coupling=minibatch_ot", *MOONS, *SMALL, *TWO]
    tasks += [(fails_on_rank_one, tmp_path / "d"), (paired, tmp_path / "e")]
    different, uneven_errors, three_errors, failed, paired_errors = in_ranks(tasks)
    assert all("different configurations (rank 1 differs" in error for error in different)
    assert all("cannot be shared by 2 processes" in error for error in uneven_errors)
    assert all("started 2 processes, the configuration asks for 3" in error for error in three_errors)
    assert all("coupling=minibatch_ot" in error for error in paired_errors)
    assert failed == ["ZooError: ValueError: nothing is left", "ValueError: nothing is left"]
    record = read(tmp_path / "d")
    assert record.status == "failed"
    assert record.reason == "ValueError: nothing is left"
    assert not (tmp_path / "a/checkpoints/last.ckpt").exists()


def dies_on_rank_one(rank):
    from zoo.training.rule import Rule

    average = Rule._average

    def die(self):
        if self.updates == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        average(self)

    if rank == 1:
        Rule._average = die
    return ["model=maf", *MOONS, *SMALL, *TWO]


def test_a_killed_rank_cuts_the_job_off_and_it_resumes_bit_for_bit(tmp_path):
    overrides = ["model=maf", *MOONS, *SMALL, *TWO]
    (cut,) = in_ranks([(dies_on_rank_one, tmp_path / "cut")])
    assert cut == ["CutOff: Another process of this run was lost.", None]
    assert not (tmp_path / "cut/record.json").exists()
    again, whole = in_ranks([(overrides, tmp_path / "cut"), (overrides, tmp_path / "whole")])
    assert again == whole == [None, None]
    assert read(tmp_path / "cut").stability["resumed_at"] == 3
    one, two = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("cut", "whole")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


def asked_on_rank_one(rank):
    from zoo.training.rule import Rule

    average = Rule._average

    def ask(self):
        if self.updates == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        average(self)

    if rank == 1:
        Rule._average = ask
    return ["model=maf", *MOONS, *SMALL, *TWO, "training.log_every=1"]


def test_processes_that_are_asked_to_end_do_so_after_the_same_update(tmp_path):
    overrides = ["model=maf", *MOONS, *SMALL, *TWO, "training.log_every=1"]
    (cut,) = in_ranks([(asked_on_rank_one, tmp_path / "cut")])
    assert cut == ["CutOff: Asked to end, with a checkpoint at update 2 of 6."] * 2
    assert not (tmp_path / "cut/record.json").exists()
    again, whole = in_ranks([(overrides, tmp_path / "cut"), (overrides, tmp_path / "whole")])
    assert again == whole == [None, None]
    assert read(tmp_path / "cut").stability["resumed_at"] == 2
    one, two = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("cut", "whole")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_other_strategies_are_refused():
    from zoo.run import _strategy

    with pytest.raises(ZooError, match=r"ddp or auto; got 'fsdp'"):
        _strategy(compose_run(["trainer=ddp", "trainer.strategy=fsdp"]))
