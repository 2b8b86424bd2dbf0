"""Several processes get the weights, evaluation and noise of one; an error in one ends all of them."""

from __future__ import annotations

import contextlib
import copy
import csv
import datetime
import functools
import json
import multiprocessing
import os
import pickle
import queue
import signal
import socket
import time

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

import zoo
from zoo.config import compose_run, identify, to_dict
from zoo.config.identities import Identities
from zoo.data.spec import DataSpec
from zoo.errors import Diverged, Unsound, ZooError
from zoo.evaluation import likelihood, protocol
from zoo.evaluation.distributed import in_batches
from zoo.evaluation.likelihood import log_probs
from zoo.evaluation.protocol import generate
from zoo.models.core.distributed import all_reduce_sum
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.batch_norm import BatchNorm1d, BatchNorm2d
from zoo.record import LIKELIHOOD, SAMPLES, Attempts, read
from zoo.running.judge import reevaluate
from zoo.running.run import run
from zoo.training import distributed as training_distributed
from zoo.training.distributed import FIND_UNUSED, Averaging, check_normalisation
from zoo.training.likelihood import MaximumLikelihood
from zoo.training.matching import Matching
from zoo.training.module import TrainingModule

SMALL = [
    "logger=none", "training.updates=6", "training.batch_size=24", "training.validations=2",
    "training.warmup=0", "training.schedule=constant", "evaluation.samples=30",
    "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1", "evaluation.throughput_batches=[4]",
    "evaluation.time_limit_seconds=0.01", "evaluation.batch_size=16",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
MOONS = ["data=moons", "data.train=200", "data.val=25", "data.test=40"]
# The gradient of a bias before a normalisation is zero but for rounding, and Adam would make a full step
# along it. So these cases use plain gradient descent.
PLAIN = ["training.optimizer=sgd", "training.lr=0.05"]
CASES = {
    "maximum likelihood, actnorm": ["model=glow", *MOONS, "model.hidden=[8]", *PLAIN],
    "batch statistics of a flow": ["model=realnvp", *MOONS, "model.hidden=[8]",
                                   "model.normalisation=batchnorm", *PLAIN],
    "batch statistics": ["model=vae", "data=digits", "evaluation.likelihood_examples=8",
                         "evaluation.pairwise_examples=50", "evaluation.training_examples=100",
                         "model.norm=batch", "model.width=4", *PLAIN],
    "batch statistics of vectors": ["model=pacgan", *MOONS, "model.hidden=[8]", "model.critic_hidden=[8]",
                                    *PLAIN],
    "two optimisers, averaged weights": ["model=gan", *MOONS, "model.hidden=8", "training.ema=0.9"],
    "critic steps": ["model=gan", *MOONS, "model.hidden=8", "training.critic_steps=2"],
    "both networks at once": ["model=pacgan", *MOONS, "model.hidden=[8]", "model.critic_hidden=[8]", *PLAIN,
                              "training.simultaneous=true", "training.r1=1", "training.gradient_penalty=1"],
    "clipped weights": ["model=wgan", *MOONS, "model.hidden=8"],
    "matching": ["model=flow_matching", *MOONS, "model.hidden=[8]", "model.solver.method=rk4",
                 "model.solver.steps=3"],
    "adjoint": ["model=ffjord", *MOONS, "model.hidden=[8]", "model.solver.method=rk4", "model.solver.steps=3",
                "model.solver.adjoint=true"],
    "accumulation": ["model=maf", "model.batch_norm=false", *MOONS, "training.accumulate=2"],
}  # fmt: skip
DIGITS = ["data=digits", "evaluation.likelihood_examples=8", *PLAIN]
ON_IMAGES = {
    "sngan, augmented": ["model=sngan", *DIGITS, "model.width=4", "model.latent_dim=4",
                         "training.augment=[colour,translation,cutout]"],
    # its critic's loss has no bound: steps of 0.05 would amplify differences of rounding
    "wgan_gp": ["model=wgan_gp", *DIGITS[:-1], "training.lr=0.001", "model.width=4", "model.latent_dim=4"],
    "stylegan": ["model=stylegan", *DIGITS, "model.width=4", "model.latent_dim=4", "model.hidden=8",
                 "training.ema=0.9", "training.r1=1", "model.truncation=0.7"],
    "diffusion": ["model=diffusion", *DIGITS, "model.unet.channels=4", "model.terms=2",
                  "model.sampler.steps=2", "model.conditional=true"],
    "pixelcnn_pp": ["model=pixelcnn_pp", *DIGITS, "model.width=4", "model.components=2"],
    "vae_hierarchical": ["model=vae_hierarchical", *DIGITS, "model.width=4"],
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def as_rank(rank, world, ports, tasks, results):
    """Run the tasks one after another in a rank with the environment of torchrun."""
    torch.set_num_threads(1)
    errors = []
    for port, (overrides, directory) in zip(ports, tasks, strict=True):
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
            GROUP_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test",
        )  # fmt: skip
        if callable(overrides):
            overrides = overrides(rank)
        try:
            run(compose_run(overrides), directory)
            errors.append(None)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # as at the end of a process
    results.put((rank, errors))


def in_ranks(tasks, world=2, timeout=150):
    """Run each ``(overrides, directory)`` in forked ranks; return the errors of the ranks, task by task."""
    context = multiprocessing.get_context("fork")
    ports, results = [free_port() for _ in tasks], context.Queue()
    processes = [
        context.Process(target=as_rank, args=(rank, world, ports, tasks, results)) for rank in range(world)
    ]
    for process in processes:
        process.start()
    try:
        by_rank, deadline = {}, time.monotonic() + timeout
        while len(by_rank) < world and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                rank, errors = results.get(timeout=0.2)
                by_rank[rank] = errors
            if any(p.exitcode == -signal.SIGKILL for p in processes) and len(by_rank) == world - 1:
                break  # one was killed
    finally:
        for process in processes:
            process.join(5)
            process.kill()
    return [[by_rank.get(rank, [None] * len(tasks))[i] for rank in range(world)] for i in range(len(tasks))]


def by_one_and_by_two(cases, place):
    """Train every case by one process and by two; return the two directories of runs."""
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
    check_equal_runs([root / name for root in pairs])


def check_equal_runs(runs):
    checkpoints = [torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in runs]
    assert checkpoints[0].keys() == checkpoints[1].keys()
    for key, value in checkpoints[0].items():
        torch.testing.assert_close(
            checkpoints[1][key], value, atol=1e-5, rtol=1e-5, msg=lambda m, k=key: f"{k}: {m}"
        )
    records = [json.loads((run / "record.json").read_text()) for run in runs]
    assert {r["status"] for r in records} == {"finished"}
    for metric, value in records[0]["metrics"].items():
        if value["value"] is not None:
            assert records[1]["metrics"][metric]["value"] == pytest.approx(value["value"], rel=1e-3, abs=1e-4)
    assert records[0]["cost"]["images_seen"] == records[1]["cost"]["images_seen"]
    curves = [list(csv.DictReader((run / "curves.csv").read_text().splitlines())) for run in runs]
    assert len(curves[0]) == len(curves[1])
    for one, two in zip(*curves, strict=True):
        for column in (c for c in one if c.startswith(("val/", "train/")) and one[c]):
            assert float(two[column]) == pytest.approx(float(one[column]), rel=1e-3, abs=1e-4), column
    assert any(row.get("val/loss") or row.get("val/energy_distance") for row in curves[0])


@pytest.mark.parametrize("name", ["batch statistics of a flow", "matching", "critic steps"])
def test_one_process_evaluates_a_checkpoint_like_the_two_that_trained_it(pairs, name):
    directory = pairs[1] / name
    before, arrays = read(directory), held(directory)
    assert arrays[SAMPLES, "samples"].shape[0] == 30
    after = reevaluate(directory)
    assert after.metrics == before.metrics
    assert all(np.array_equal(value, arrays[key]) for key, value in held(directory).items())


def held(directory):
    """Return the arrays of a run: likelihoods and samples."""
    return {
        (name, key): value
        for name in (LIKELIHOOD, SAMPLES)
        if (directory / name).exists()
        for key, value in np.load(directory / name).items()
    }


def as_member(rank, world, port, functions, answers):
    """Call the functions in one process of a group, without any training."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    results = []
    for function in functions:
        try:
            results.append(function(rank))
        except Exception as error:
            results.append((type(error), str(error), "".join(getattr(error, "__notes__", []))))
    answers.put((rank, results))
    torch.distributed.barrier()


def in_group(functions, world, timeout=60):
    """Call the functions in every process of a group; return the results of the ranks for each function."""
    context = multiprocessing.get_context("fork")
    answers, port = context.Queue(), free_port()
    processes = [
        context.Process(target=as_member, args=(rank, world, port, functions, answers))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    try:
        results = dict(answers.get(timeout=timeout) for _ in processes)
    finally:
        for process in processes:
            process.join(5)
            process.kill()
    return [[results[rank][i] for rank in range(world)] for i in range(len(functions))]


GREY = DataSpec((1, 8, 8), levels=17)
SHARED = {
    "flow": ("realnvp", GREY, {"width": 4}),
    "diffusion": ("diffusion", GREY, {"terms": 2, "sampler": {"steps": 3}}),
    "fixed steps": ("ffjord", DataSpec((2,)), {"hidden": [8], "solver": {"method": "rk4", "steps": 2}}),
    "steps that depend on the batch": ("ffjord", DataSpec((2,)), {"hidden": [8]}),
}


@functools.cache  # made once, before the processes fork
def with_random_weights(name):
    model_name, spec, settings = SHARED[name]
    torch.manual_seed(0)
    model = zoo.build(model_name, spec, **settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # many models begin as the identity
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def answers(name, n):
    """Return log-likelihoods, samples and the number of evaluations, with batches of four examples."""
    model, spec = with_random_weights(name), SHARED[name][1]
    torch.manual_seed(n)
    x = torch.randn(n, *spec.shape) if spec.levels is None else torch.randint(17, (n, *spec.shape))
    with count_nfe() as counter:
        values, samples = log_probs(model, x, 4), generate(model, n, spec, 3, 4)
    return values.numpy(), samples.numpy(), counter.count


def test_processes_share_an_evaluation_and_get_the_results_of_one():
    cases = [
        (name, n) for name in SHARED for n in (13, 3)
    ]  # four batches; one batch, so that some processes have none
    alone = [answers(*case) for case in cases]
    together = in_group([lambda _, case=case: answers(*case) for case in cases], 3)
    for case, (values, samples, count), of_ranks in zip(cases, alone, together, strict=True):
        assert len(values) == len(samples) == case[1]
        for rank in of_ranks:
            assert np.array_equal(rank[0], values), case
            assert np.array_equal(rank[1], samples), case
            assert rank[2] == count > 0


def sent_to_all(rank):
    """Evaluate a model; return the size in bytes of the largest object that this rank sends to all ranks."""
    model, spec = with_random_weights("fixed steps"), SHARED["fixed steps"][1]
    splits = {split: torch.randn(10, 2) for split in ("train", "val", "test")}
    sizes, send = [], torch.distributed.all_gather_object

    def count(every, content):
        sizes.append(len(pickle.dumps(content)))
        send(every, content)

    settings = to_dict(compose_run(["evaluation.samples=1000"]).evaluation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributed, "all_gather_object", count)
        patch.setattr(protocol, "first_goes_on", lambda: False)
        protocol.evaluate(model, splits, spec, natural=False, settings=settings)
    return max(sizes)


def test_samples_are_sent_to_the_first_process_alone():
    alone = answers("flow", 13)[1]
    model = with_random_weights("flow")
    (samples, sizes) = in_group([lambda _: generate(model, 13, GREY, 3, 4, True).numpy(), sent_to_all], 2)
    assert np.array_equal(samples[0], alone)
    assert np.array_equal(samples[1], alone[8:]), "its own rows"
    assert max(sizes) < 2000, "1000 samples of the plane are 8000 bytes"


class Foreign(torch.nn.Module):
    """A model of another library, which draws its noise from torch's global generator."""

    def sample(self, n):
        return torch.randn(n, 2)


def foreign_samples(rank):
    torch.manual_seed(0)
    return generate(Foreign(), 13, DataSpec((2,)), 3, 4).numpy()


def test_samples_of_another_librarys_model_are_drawn_in_each_process():
    (results,) = in_group([foreign_samples], 2)
    assert all(np.array_equal(samples, foreign_samples(0)) for samples in results)


class Spoilt(Exception):
    """An exception that cannot be unpickled in another process."""

    def __init__(self, what, where):
        super().__init__(f"{what} {where}")


@pytest.mark.parametrize(
    ("error", "elsewhere"),
    [
        (Unsound("It overflows."), (Unsound, "It overflows.")),
        (NotImplementedError("No density."), (NotImplementedError, "No density.")),
        (Spoilt("a", "b"), (ZooError, "Spoilt: a b")),
    ],
)
def test_an_error_of_one_process_is_raised_by_all(error, elsewhere):
    def fail(rows):
        if rows.start == 8:
            raise error
        return torch.zeros(4)

    model = zoo.build("realnvp", DataSpec((2,)), hidden=[4])
    ((first, second, third),) = in_group([lambda _: in_batches(model, 12, 4, fail)], 3)
    assert first[:2] == second[:2] == elsewhere
    assert "In process 2" in first[2]
    assert "raise error" in first[2]
    assert third == (type(error), str(error), "")


def different_seeds(rank):
    return ["model=maf", *MOONS, *SMALL, *TWO, f"seed={rank}"]


def fails_on_rank_one(error, method="average_weights"):
    """Return a function from a rank to overrides, by which rank 1 raises an error in a training method."""

    def overrides(rank):
        if rank == 1:
            setattr(MaximumLikelihood, method, lambda *_: raise_(error))
        return ["model=maf", *MOONS, *SMALL, *TWO]

    return overrides


def test_processes_that_do_not_fit_together_are_refused_before_training(tmp_path):
    uneven = ["model=maf", *MOONS, *SMALL, *TWO, "training.batch_size=25"]
    three = ["model=maf", *MOONS, *SMALL, *TWO, "trainer.devices=3"]
    tasks = [(different_seeds, tmp_path / "a"), (uneven, tmp_path / "b"), (three, tmp_path / "c")]
    paired = ["model=flow_matching", "model.coupling=minibatch_ot", *MOONS, *SMALL, *TWO]
    # the failing rank comes last: the other one may still notice it in the next task
    tasks += [(paired, tmp_path / "d"), (fails_on_rank_one(ValueError("nothing is left")), tmp_path / "e")]
    different, uneven_errors, three_errors, paired_errors, failed = in_ranks(tasks)
    assert all("different configurations (rank 1 differs" in error for error in different)
    assert all("cannot be shared by 2 processes" in error for error in uneven_errors)
    assert all(
        "started 2 processes, but trainer.devices times trainer.num_nodes is 3" in error
        for error in three_errors
    )
    assert all("FlowMatching takes its batch as a whole" in error for error in paired_errors), paired_errors
    assert failed == ["ZooError: ValueError: nothing is left", "ValueError: nothing is left"]
    record = read(tmp_path / "e")
    assert record.status == "failed"
    assert record.reason == "ValueError: nothing is left"
    assert not (tmp_path / "a/checkpoints/last.ckpt").exists()


def test_a_run_that_diverges_on_one_process_alone_is_recorded_as_diverged(tmp_path):
    overflow, infinite = Unsound("The latents hold NaN."), Diverged("The loss is nan.")
    validation, training = in_ranks([
        (fails_on_rank_one(overflow, "validation_values"), tmp_path / "a"),
        (fails_on_rank_one(infinite), tmp_path / "b"),
    ])  # fmt: skip
    # before any sum of the batch normalisation; alone, since the other rank notices that the process ends
    (first_loss,) = in_ranks([(fails_on_rank_one(infinite, "loss"), tmp_path / "c")])
    assert validation == ["Unsound: The latents hold NaN."] * 2
    assert training == first_loss == ["Diverged: The loss is nan."] * 2
    for name, error in (("a", overflow), ("b", infinite), ("c", infinite)):
        assert (read(tmp_path / name).status, read(tmp_path / name).reason) == ("diverged", str(error))
        (attempt,) = Attempts(tmp_path / name).attempts
        assert (attempt.end, attempt.reason) == ("diverged", str(error))


def dies_on_rank_one(rank):
    average = TrainingModule.average_weights

    def die(self):
        if self.updates == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        average(self)

    if rank == 1:
        TrainingModule.average_weights = die
    return ["model=maf", *MOONS, *SMALL, *TWO]


def test_a_killed_rank_cuts_the_job_off_and_it_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.running.outcome.PATIENCE", 0.2)
    overrides = ["model=maf", *MOONS, *SMALL, *TWO]
    (cut,) = in_ranks([(dies_on_rank_one, tmp_path / "cut")])
    assert cut[0].startswith("CutOff: Another process of this run was lost ("), cut
    assert cut[1] is None
    assert not (tmp_path / "cut/record.json").exists()
    again, whole = in_ranks([(overrides, tmp_path / "cut"), (overrides, tmp_path / "whole")])
    assert again == whole == [None, None]
    assert read(tmp_path / "cut").stability.resumed_at == 3
    one, two = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("cut", "whole")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


def sleeps_on_rank_one(rank):
    if rank == 1:
        TrainingModule.average_weights = lambda self: time.sleep(2)
    return ["model=maf", *MOONS, *SMALL, *TWO, "trainer.timeout_min=0.02"]


def test_a_rank_that_does_not_answer_in_time_cuts_the_job_off(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.running.outcome.PATIENCE", 0.2)
    ((first, _),) = in_ranks([(sleeps_on_rank_one, tmp_path)])
    assert first.startswith("CutOff: Another process of this run was lost (")
    assert not (tmp_path / "record.json").exists()
    (attempt,) = Attempts(tmp_path).attempts
    assert (attempt.end, f"CutOff: {attempt.reason}") == ("cut off", first)


RARE = "training.log_every=1000"


def ends_on_rank_one(rank):
    update = TrainingModule.update

    def send_signal(self, x, y):
        if self.updates == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, x, y)

    if rank == 1:
        TrainingModule.update = send_signal
    return ["model=maf", *MOONS, *SMALL, *TWO, RARE]


def test_after_a_signal_to_one_process_all_end_after_the_same_update(tmp_path):
    overrides = ["model=maf", *MOONS, *SMALL, *TWO, RARE]
    (cut,) = in_ranks([(ends_on_rank_one, tmp_path / "cut")])
    assert cut == ["Interrupted: Ended by a signal, with a checkpoint at update 2 of 6."] * 2
    (attempt,) = Attempts(tmp_path / "cut").attempts
    assert (attempt.end, attempt.updates, f"Interrupted: {attempt.reason}") == ("interrupted", 2, cut[0])
    assert not (tmp_path / "cut/record.json").exists()
    again, whole = in_ranks([(overrides, tmp_path / "cut"), (overrides, tmp_path / "whole")])
    assert again == whole == [None, None]
    assert read(tmp_path / "cut").stability.resumed_at == 2
    one, two = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("cut", "whole")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


def on_rank_one(what):
    """Return the overrides of a run whose second process calls ``what`` instead of scoring a batch."""

    def overrides(rank):
        if rank == 1:
            likelihood.placement = lambda model: what()
        return ["model=maf", *MOONS, *SMALL, *TWO]

    return overrides


def raise_(error):
    raise error


def test_a_metric_that_one_process_cannot_compute_is_empty_with_a_reason(tmp_path):
    overrides = on_rank_one(lambda: raise_(Unsound("It overflows.")))
    (errors,) = in_ranks([(overrides, tmp_path)])
    assert errors == [None, None]
    record = read(tmp_path)
    assert record.status == "finished"
    assert (record.metrics["nll"].value, record.metrics["nll"].reason) == (None, "It overflows.")
    assert np.load(tmp_path / SAMPLES)["samples"].shape == (30, 2)


def test_an_error_of_one_process_ends_the_run_with_one_record(tmp_path):
    overrides = on_rank_one(lambda: raise_(ValueError("nothing is left")))
    (errors,) = in_ranks([(overrides, tmp_path)])
    assert errors == ["ValueError: nothing is left"] * 2
    record = read(tmp_path)
    assert (record.status, record.reason) == ("failed", "ValueError: nothing is left")
    assert "In process 1" in (tmp_path / "error.log").read_text()


def test_a_job_killed_in_its_evaluation_is_evaluated_on_resuming(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.running.outcome.PATIENCE", 0.2)
    overrides = on_rank_one(lambda: os.kill(os.getpid(), signal.SIGKILL))
    (cut,) = in_ranks([(overrides, tmp_path)])
    assert cut[0].startswith("CutOff: Another process of this run was lost ("), cut
    assert cut[1] is None
    assert not (tmp_path / "record.json").exists()
    (again,) = in_ranks([(["model=maf", *MOONS, *SMALL, *TWO], tmp_path)])
    assert again == [None, None]
    assert read(tmp_path).status == "finished"


def with_a_weight_that_nothing_uses(more):
    def overrides(rank):
        start = Matching.__init__

        def init(self, model, **settings):
            start(self, model, **settings)
            self.idle = torch.nn.Parameter(torch.zeros(3))

        Matching.__init__ = init
        return ["model=flow_matching", *MOONS, *SMALL, *TWO, "model.hidden=[8]", *more]

    return overrides


def counts_averages(rank):
    wrap, finish, buckets = Averaging.configure_ddp, Averaging.teardown, []

    def count(state, bucket):
        buckets.append(bucket.buffer().numel())
        return allreduce_hook(None, bucket)

    def configure(self):
        wrap(self)
        self.model.register_comm_hook(None, count)

    def check(self):
        assert len(buckets) == 6, f"{len(buckets)} averages in 6 updates"
        finish(self)

    Averaging.configure_ddp, Averaging.teardown = configure, check
    return ["model=maf", "model.batch_norm=false", *MOONS, *SMALL, *TWO, "training.accumulate=2"]


def test_gradients_are_averaged_once_an_update_and_none_may_be_missing(tmp_path):
    idle, looked_for, counted = in_ranks([
        (with_a_weight_that_nothing_uses([]), tmp_path / "a"),
        (with_a_weight_that_nothing_uses([f"trainer.strategy={FIND_UNUSED}"]), tmp_path / "b"),
        (counts_averages, tmp_path / "c"),
    ])  # fmt: skip
    assert all("a gradient of every weight, and idle has none" in error for error in idle)
    assert looked_for == [None, None]
    assert counted == [None, None]


IN_BUCKETS = ["model=maf", "model.batch_norm=false", "model.layers=2", *MOONS, *PLAIN, *SMALL]


class InSmallBuckets(Averaging):
    """zoo's strategy with buckets of a thousand bytes; it notes gradients and averages in their order."""

    def __init__(self, **settings):
        super().__init__(**settings, bucket_cap_mb=0.001)
        self.events = []

    def configure_ddp(self):
        super().configure_ddp()

        def note(state, bucket):
            self.events.append("average")
            return allreduce_hook(None, bucket)

        self.model.register_comm_hook(None, note)
        for parameter in self.model.parameters():
            parameter.register_hook(lambda gradient: self.events.append("gradient"))

    def teardown(self):
        last = self.events[-len(self.events) // 6 :]  # the last of six updates
        assert last.count("average") >= 4, last
        assert "gradient" in last[last.index("average") :], "averaged after the backward pass alone"
        super().teardown()


def in_small_buckets(rank):
    training_distributed.Averaging = InSmallBuckets
    return [*IN_BUCKETS, *TWO]


def test_buckets_of_gradients_are_averaged_before_the_backward_pass_ends(tmp_path):
    run(compose_run([*IN_BUCKETS, "trainer=cpu"]), tmp_path / "one")
    (errors,) = in_ranks([(in_small_buckets, tmp_path / "two")])
    assert errors == [None, None]
    check_equal_runs([tmp_path / "one", tmp_path / "two"])


class OfAnotherLibrary(pl.LightningModule):
    def __init__(self, norm):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 3), norm)


def wrapped(norm):
    """Return what each of two processes answers to a model with a layer of normalisation."""

    def configure(rank):
        strategy = Averaging(parallel_devices=[torch.device("cpu")] * 2)
        strategy.model = OfAnotherLibrary(norm)
        strategy.configure_ddp()
        return "accepted"

    return configure


class OwnNorm(torch.nn.BatchNorm2d):
    """A layer derived from torch's, such as timm's BatchNormAct2d."""


class OurNorm(BatchNorm2d):
    """A layer derived from zoo's, with statistics over all processes."""


OURS = "zoo.models.networks.batch_norm"
OF_ONE_PROCESS = [
    (torch.nn.BatchNorm1d(3), f"{OURS}.BatchNorm1d"),
    (torch.nn.BatchNorm2d(3), f"{OURS}.BatchNorm2d"),
    (torch.nn.BatchNorm3d(3), "torch.nn.SyncBatchNorm on GPUs"),
    (OwnNorm(3), f"{OURS}.BatchNorm2d"),
    (torch.nn.BatchNorm1d(3, track_running_stats=False).eval(), f"{OURS}.BatchNorm1d"),
    (torch.nn.InstanceNorm2d(3, track_running_stats=True), "track_running_stats=False"),
]
OF_ALL = [
    *(torch.nn.BatchNorm1d(3).eval(), BatchNorm1d(3), OurNorm(3)),
    *(torch.nn.InstanceNorm2d(3), torch.nn.InstanceNorm2d(3, track_running_stats=True).eval()),
]


def test_layers_with_statistics_of_the_examples_of_one_process_are_refused():
    results = in_group([wrapped(norm) for norm in [norm for norm, _ in OF_ONE_PROCESS] + OF_ALL], 2)
    for (norm, instead), answers in zip(OF_ONE_PROCESS, results, strict=False):
        for kind, message, _ in answers:
            assert kind is ZooError
            assert message == (
                f"The layer layers.1 ({type(norm).__name__}) computes statistics of each process's examples "
                f"alone; use {instead}, or train by one process (trainer.devices=1)."
            )
    assert results[len(OF_ONE_PROCESS) :] == [["accepted"] * 2] * len(OF_ALL)
    check_normalisation(torch.nn.SyncBatchNorm(3))  # passes the check; training with it needs GPUs


def normalised(layer, dtype=torch.float32):
    """Return a function of the rank, which applies a layer to that rank's part of a batch.

    It returns output, gradient, state and format of the output, which itself is converted to float32.
    """

    def results(rank, world=2):
        torch.manual_seed(0)
        x = 3 + 2 * torch.randn(12, 3, *(5,) * (2 * isinstance(layer, torch.nn.BatchNorm2d)))
        weights, part = torch.randn_like(x), slice(rank * 12 // world, (rank + 1) * 12 // world)
        mine = x[part].requires_grad_()
        module = copy.deepcopy(layer)
        output = module(mine.to(dtype))
        (output * weights[part]).sum().backward()
        state = {key: value.numpy() for key, value in module.state_dict().items()}
        return output.detach().float().numpy(), mine.grad.numpy(), state, output.dtype

    return results


def test_batch_normalisation_of_two_processes_is_that_of_torch_in_one():
    kinds = {BatchNorm1d: torch.nn.BatchNorm1d, BatchNorm2d: torch.nn.BatchNorm2d}
    settings = [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}]
    cases = [(ours(3, **s), torchs(3, **s)) for ours, torchs in kinds.items() for s in settings]
    together = in_group([normalised(ours) for ours, _ in cases], 2)
    for (ours, torchs), parts in zip(cases, together, strict=True):
        whole, gradient, state, _ = normalised(torchs)(0, 1)
        same = normalised(ours)(0, 1)
        assert np.array_equal(same[0], whole), "one process gives what torch's layer gives, bit for bit"
        assert np.array_equal(same[1], gradient)
        np.testing.assert_allclose(np.concatenate([p[0] for p in parts]), whole, atol=1e-5)
        np.testing.assert_allclose(np.concatenate([p[1] for p in parts]), gradient, atol=1e-5)
        assert parts[0][2].keys() == same[2].keys() == state.keys()
        for key, value in state.items():
            assert np.array_equal(same[2][key], value)
            np.testing.assert_allclose(parts[0][2][key], value, atol=1e-6, rtol=1e-6)


def test_batch_normalisation_in_half_precision_has_moments_in_full_precision():
    """The inputs are bfloat16, as they are under trainer.precision=bf16-mixed."""
    kinds = {BatchNorm1d: torch.nn.BatchNorm1d, BatchNorm2d: torch.nn.BatchNorm2d}
    together = in_group([normalised(ours(3), torch.bfloat16) for ours in kinds], 2)
    for torchs, parts in zip(kinds.values(), together, strict=True):
        whole, gradient, state, dtype = normalised(torchs(3), torch.bfloat16)(0, 1)
        assert {dtype, *(p[3] for p in parts)} == {torch.bfloat16}
        np.testing.assert_allclose(np.concatenate([p[0] for p in parts]), whole, atol=0.02)
        np.testing.assert_allclose(np.concatenate([p[1] for p in parts]), gradient, atol=0.02)
        for key, value in state.items():
            np.testing.assert_allclose(parts[0][2][key], value, atol=1e-5, rtol=1e-5)


HALF = ["trainer.precision=bf16-mixed"]


@pytest.mark.slow
def test_two_processes_train_in_half_precision_nearly_like_one(tmp_path):
    names = ("batch statistics", "batch statistics of vectors")
    one, two = by_one_and_by_two({name: [*CASES[name], *HALF] for name in names}, tmp_path)
    for name in names:
        first, second = (
            torch.load(root / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
            for root in (one, two)
        )
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, atol=0.02, rtol=0.05, msg=f"{name}: {key}")


class Ten(torch.nn.Module):
    """A model whose loss is the data, and whose log-likelihood is -10 times the data."""

    def matching_loss(self, x):
        return x[:, 0]

    def log_prob(self, x):
        return -10 * x[:, 0]


def validated(rank):
    """Return the results of a validation on eight examples, with the likelihoods of seven of them."""
    module = Matching(Ten(), updates=1, batch_size=3, ema=0.0, validate_likelihood=7)
    module.on_validation_epoch_start()
    for part in torch.arange(8.0)[rank::3, None].split(2):
        module.validation_step(part, 0)
    module.on_validation_epoch_end()
    return module.latest


def test_processes_score_the_examples_that_one_scores_if_their_number_does_not_divide_them():
    (results,) = in_group([validated], 3)
    assert results == [{"val/loss": 3.5, "val/nll": 30.0}] * 3


def test_other_strategies_are_refused():
    from zoo.running.fit import strategy

    with pytest.raises(ZooError, match=r"ddp or auto; got 'fsdp', .* from about 4 billion weights on"):
        strategy(to_dict(compose_run(["trainer=ddp", "trainer.strategy=fsdp"]).trainer))


def refused_before_an_update(rank):
    check = training_distributed.check_normalisation

    def refuse(model):
        training_distributed.check_normalisation = check
        raise ZooError("A layer is not one of ours.")

    training_distributed.check_normalisation = refuse
    return ["model=maf", *MOONS, *SMALL, *TWO]


def test_a_run_of_one_process_is_resumed_by_two(tmp_path, monkeypatch):
    def interrupt(self):
        if self.updates == 4:  # after the validation at update 3
            raise KeyboardInterrupt

    overrides = ["model=maf", *MOONS, *SMALL]
    whole = run(compose_run([*overrides, "trainer=cpu"]), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "average_weights", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(compose_run([*overrides, "trainer=cpu"]), tmp_path / "cut")
    refused, errors = in_ranks([
        (refused_before_an_update, tmp_path / "cut"),
        ([*overrides, *TWO], tmp_path / "cut"),
    ])  # fmt: skip
    assert refused == ["ZooError: A layer is not one of ours."] * 2
    assert errors == [None, None]
    assert [entry.end for entry in Attempts(tmp_path / "cut").attempts] == ["interrupted", "finished"]
    record = read(tmp_path / "cut")
    assert (record.run_id, record.stability.resumed_at) == (whole.run_id, 3)
    assert record.metrics["nll"].value == pytest.approx(whole.metrics["nll"].value, rel=1e-4)
    seconds = record.cost.train_seconds
    assert seconds < record.cost.device_seconds < 2 * seconds, "one device first, then two"
    first, second = record.provenance.segments
    assert (first.from_updates, first.to_updates, first.processes) == (0, 3, 1)
    assert (second.from_updates, second.to_updates, second.processes) == (3, 6, 2)
    assert first.seconds + second.seconds == pytest.approx(seconds, abs=0.05)
    assert first.seconds + 2 * second.seconds == pytest.approx(record.cost.device_seconds, abs=0.05)
    assert first.host == second.host == os.uname().nodename
    assert first.hardware.cores == os.cpu_count()
    (only,) = whole.provenance.segments
    assert (only.from_updates, only.to_updates, only.processes) == (0, 6, 1)
    rows = list(csv.DictReader((tmp_path / "cut/curves.csv").read_text(encoding="utf-8").splitlines()))
    spent = [float(row["device_seconds"]) for row in rows]
    assert spent == sorted(spent)


FORMATS = {"fp16": torch.float16, "bf16": torch.bfloat16}


def exchanged(compression):
    """Return this process's own gradients, and those that DDP has exchanged in a format."""

    def gradients(rank):
        torch.manual_seed(0)
        layer, x = torch.nn.Linear(5, 3), torch.randn(2, 7, 5)[rank]
        layer(x).square().sum().backward()
        own = [p.grad.clone() for p in layer.parameters()]
        layer.zero_grad()
        strategy = Averaging(compression=compression)
        strategy.model = torch.nn.parallel.DistributedDataParallel(layer)
        strategy.compress_gradients()
        strategy.model(x).square().sum().backward()
        return [g.numpy() for g in own], [p.grad.numpy() for p in layer.parameters()]

    return gradients


def test_compressed_gradients_are_means_of_gradients_rounded_to_their_format():
    results = in_group([exchanged(name) for name in ("none", *FORMATS)], 2)
    for name, ((first, mean), (second, same)) in zip(("none", *FORMATS), results, strict=True):
        for mine, other, result, elsewhere in zip(first, second, mean, same, strict=True):
            halves = [torch.from_numpy(g).to(FORMATS.get(name, torch.float32)) / 2 for g in (mine, other)]
            assert np.array_equal(result, elsewhere), "the same in both"
            assert np.array_equal(result, (halves[0] + halves[1]).float().numpy()), name


def test_runs_that_compress_gradients_train_nearly_alike_and_are_other_runs(tmp_path):
    base = ["model=maf", *MOONS, *SMALL, *TWO, "model.hidden=[8]", "model.batch_norm=false", *PLAIN]
    runs = {name: [*base, f"trainer.gradient_compression={name}"] for name in ("none", *FORMATS)}
    errors = in_ranks([(overrides, tmp_path / name) for name, overrides in runs.items()])
    assert errors == [[None, None]] * 3
    weights = {
        name: torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in runs
    }
    errors = {
        name: max(float((weights[name][key] - w).abs().max()) for key, w in weights["none"].items())
        for name in FORMATS
    }
    assert 0 < errors["fp16"] < errors["bf16"] < 0.01
    ids = {name: identify(compose_run(overrides)) for name, overrides in runs.items()}
    assert ids["none"] == identify(compose_run(base)), "the hashes of earlier records stay"
    assert "gradient_compression" not in ids["none"].config["trainer"]
    assert len({one.config_hash for one in ids.values()}) == 3
    assert all(Identities().of(overrides) == ids[name] for name, overrides in runs.items())


def test_compression_is_refused_where_it_does_nothing_or_does_not_work(tmp_path, monkeypatch):
    one = ["model=maf", *MOONS, *SMALL, "trainer=cpu"]
    with pytest.raises(ZooError, match=r"gradient_compression=fp16 has no effect in one process"):
        run(compose_run([*one, "trainer.gradient_compression=fp16"]), tmp_path)
    with pytest.raises(ZooError, match=r"must be none, fp16 or bf16; got 'powersgd'"):
        run(compose_run([*one, "trainer.gradient_compression=powersgd"]), tmp_path)

    def refused(rank):
        monkeypatch.setattr(torch.version, "cuda", None)
        return exchanged("bf16")(rank)

    ((first, second),) = in_group([refused], 2)
    assert first[0] is second[0] is ZooError
    assert "trainer.gradient_compression=bf16 does not work here (BF16 all reduce" in first[1]
    assert first[1].endswith("; set it to none.")


def test_sums_inside_of_a_model_wait_as_long_as_the_run_says():
    """Their group does not inherit the time of the run's; one rank that does not come ends the wait."""

    def waited(rank):
        Averaging(timeout=datetime.timedelta(seconds=1))
        all_reduce_sum(torch.ones(2))  # makes the group
        if rank:
            time.sleep(3)
            return 0.0
        started = time.monotonic()
        with pytest.raises(RuntimeError):
            all_reduce_sum(torch.ones(2))
        return time.monotonic() - started

    ((seconds, _),) = in_group([waited], 2)
    assert 0.5 < seconds < 2.8
