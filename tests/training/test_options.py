"""Precision, accumulation, compilation and strategies: each option has its effect or is refused."""

from __future__ import annotations

import pytest
import torch

import zoo.cli
from zoo.config import compose_run
from zoo.errors import ZooError
from zoo.models.networks.mlp import MLP
from zoo.running.run import run
from zoo.training.likelihood import MaximumLikelihood

SMALL = [
    "model=maf", "data=moons", "data.train=200", "data.val=40", "data.test=40", "trainer=cpu", "logger=none",
    "training.updates=6", "training.batch_size=24", "training.validations=1", "training.warmup=0",
    "training.schedule=constant", "evaluation.samples=30", "evaluation.latency_repeats=1",
    "evaluation.throughput_repeats=1", "evaluation.throughput_batches=[4]",
    "evaluation.time_limit_seconds=0.01",
]  # fmt: skip


@pytest.fixture(autouse=True)
def only_updates(monkeypatch):
    """Count no operations after training: that takes one more update, outside autocast."""
    monkeypatch.setattr("zoo.training.callbacks.count_flops", lambda update: (None, "Not here."))


@pytest.fixture
def trained(workdir):
    """Return a function that trains six updates with these overrides and returns the weights."""

    def train(*overrides):
        place = workdir / str(len(list(workdir.iterdir())))
        run(compose_run([*SMALL, *overrides]), place)
        return torch.load(place / "checkpoints/last.ckpt", weights_only=True)["state_dict"]

    return train


@pytest.fixture
def dtypes(monkeypatch):
    """Return the set of number formats of the layers' outputs in training."""
    seen, loss = set(), MaximumLikelihood.loss

    def watched(module, x, y):
        layers = [m for m in module.model.modules() if isinstance(m, torch.nn.Linear | MLP)]
        hooks = [m.register_forward_hook(lambda _, __, out: seen.add(out.dtype)) for m in layers]
        try:
            return loss(module, x, y)
        finally:
            for hook in hooks:
                hook.remove()

    monkeypatch.setattr(MaximumLikelihood, "loss", watched)
    return seen


def difference(one, two):
    assert one.keys() == two.keys()
    return max(float((one[k].double() - two[k].double()).abs().max()) for k in one)


@pytest.mark.parametrize("model", ["realnvp", "glow"])
def test_half_precision_computes_in_bfloat16_and_keeps_weights_in_float32(trained, dtypes, model):
    plain = trained(f"model={model}")
    assert dtypes == {torch.float32}
    dtypes.clear()
    half = trained(f"model={model}", "trainer.precision=bf16-mixed")
    assert dtypes == {torch.bfloat16}
    assert all(v.dtype == torch.float32 for v in half.values() if v.is_floating_point())
    assert 1e-6 < difference(plain, half) < 0.02  # six steps of Adam are 0.006 long


def test_accumulation_splits_the_batches_and_gives_the_same_weights(trained, monkeypatch):
    sizes, loss = [], MaximumLikelihood.loss
    monkeypatch.setattr(
        MaximumLikelihood, "loss", lambda module, x, y: (sizes.append(len(x)), loss(module, x, y))[1]
    )
    plain = trained("model=vae")  # its loss is stochastic
    assert sizes == [24] * 6
    sizes.clear()
    pieces = trained("model=vae", "training.accumulate=3")
    assert sizes == [24] + [8] * 18  # first the whole batch once, for layers that it initialises
    assert difference(plain, pieces) < 1e-4


def test_a_compiled_loss_is_used_after_a_check_of_its_gradients(trained, monkeypatch):
    # the first update of a run that is not compiled has hooks and takes autograd; so shall all the others
    monkeypatch.setattr("zoo.models.bijections.autoregressive.formulas_of", lambda *_: None)
    plain = trained()
    calls = []
    monkeypatch.setattr(torch, "compile", lambda f: lambda x, y: (calls.append(len(x)), f(x, y))[1])
    compiled = trained("training.compile=true")
    assert len(calls) == 7  # the check at the first update, then six updates
    assert difference(plain, compiled) == 0


def test_a_compiler_that_gets_gradients_wrong_is_refused(trained, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f: lambda x, y: 1.1 * f(x, y))
    with pytest.raises(ZooError, match=r"gradients wrong by 10%; set training\.compile=false"):
        trained("training.compile=true")


def test_rounding_to_bfloat16_does_not_count_as_a_wrong_gradient(trained, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f: lambda x, y: 1.05 * f(x, y))
    trained("training.compile=true", "trainer.precision=bf16-mixed")
    with pytest.raises(ZooError, match="wrong by 5%"):
        trained("training.compile=true")


@pytest.mark.parametrize(
    "message",
    [
        "ImportError: kernel.so: file too short\nand much more",
        "In a subprocess:\n\nTraceback\n  SomeError: x\nImportError: kernel.so: file too short\n",
    ],
)
def test_a_failure_of_the_compiler_is_an_error_of_one_sentence(trained, monkeypatch, message):
    import torch._dynamo.exc

    def fails(x, y):
        raise torch._dynamo.exc.TorchDynamoException(message)

    monkeypatch.setattr(torch, "compile", lambda f: fails)
    with pytest.raises(
        ZooError, match=r"failed \(ImportError: kernel\.so: file too short\); .*compile=false"
    ):
        trained("training.compile=true")


def test_a_loss_that_the_compiler_cannot_differentiate_twice_is_an_error_of_one_sentence(
    trained, monkeypatch
):
    def fails(x, y):
        raise RuntimeError("torch.compile with aot_autograd does not currently support double backward")

    monkeypatch.setattr(torch, "compile", lambda f: fails)
    with pytest.raises(ZooError, match=r"a loss that contains derivatives.*compile=false"):
        trained("training.compile=true")


@pytest.mark.slow
def test_torch_compiles_the_loss(trained, tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("inductor")  # files of other processes may be incomplete
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
    import torch._dynamo

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    # batch normalisation leaves biases without a gradient, which then follow the rounding
    same = "model.batch_norm=false"
    plain, compiled = trained(same), trained(same, "training.compile=true")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert difference(plain, compiled) < 1e-4


@pytest.mark.parametrize(("trainer", "strategy"), [("cpu", "fsdp"), ("ddp", "fsdp"), ("ddp", "deepspeed")])
def test_sharding_is_refused_in_one_sentence(workdir, monkeypatch, capsys, trainer, strategy):
    for name in ("exit_with_parent", "stop_on_signals"):  # the test's process runs other tests too
        monkeypatch.setattr(zoo.cli, name, lambda: None)
    overrides = [*SMALL, f"trainer={trainer}", "trainer.accelerator=cpu", f"trainer.strategy={strategy}"]
    assert zoo.cli.main(["train", *overrides, "hydra.run.dir=here"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"zoo: trainer.strategy is ddp or auto; got '{strategy}'")
    assert "use trainer=ddp" in line
    assert not (workdir / "here").exists()
