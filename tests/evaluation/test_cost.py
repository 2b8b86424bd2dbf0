"""Tests of the recorded cost of a run, and of the straightness of a model's paths."""

from __future__ import annotations

import pytest
import torch

import zoo

PLANE = zoo.DataSpec((2,))


@pytest.mark.parametrize(
    ("settings", "critics"),
    [(["model=maf"], 0), (["model=gan", "training.critic_steps=2"], 2), (["model=flow_matching"], 0)],
)
def test_a_run_counts_the_operations_of_an_update_and_is_not_changed_by_it(tmp_path, settings, critics):
    from zoo.config import compose_run
    from zoo.running.run import run

    common = [
        "data=moons", "data.train=100", "data.val=10", "data.test=20", "logger=none", "trainer=cpu",
        "training.updates=4", "training.batch_size=10", "training.validations=1", "training.ema=0",
        "evaluation.samples=20", "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1",
        "evaluation.throughput_batches=[1]",
    ]  # fmt: skip
    from zoo.training.callbacks import CountFlops

    seen = {}
    end = CountFlops.on_train_end

    def watch(self, trainer, module):
        before = {k: v.clone() for k, v in module.model.state_dict().items()}
        end(self, trainer, module)
        seen["same"] = all(torch.equal(v, before[k]) for k, v in module.model.state_dict().items())
        seen["watched"] = module.stability.updates_watched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CountFlops, "on_train_end", watch)
        record = run(compose_run([*settings, *common]), tmp_path)
    assert seen == {"same": True, "watched": 4}
    assert record.cost.compiled is False
    assert record.cost.flops_per_example, record.cost.flops_reason
    assert record.sampling.flops_per_example, record.sampling.flops_reason
    if not critics:  # forward, and backward to inputs and weights
        assert record.cost.flops_per_example < 10 * 2 * record.cost.parameters
        assert record.cost.flops_per_example > 2 * record.cost.parameters


@pytest.mark.parametrize("name", ["ffjord", "diffusion", "flow_matching"])
def test_continuous_models_report_how_straight_their_paths_are(name):
    from zoo.models.core import rng

    model = zoo.build(name, PLANE).eval()
    with torch.no_grad(), rng.keyed(rng.keys(0, count=200)):
        diagnostic = model.diagnostics(torch.zeros(200, 2))["straightness"]
    assert 0 < diagnostic.value < 100
    assert diagnostic.n == 128
    rows = zoo.build("ffjord", PLANE, flows=2).eval()
    assert rows.diagnostics(torch.zeros(5, 2)) == {}
