"""Count what one run of each recipe of the papers' tables costs: zoo/reproduction/tables/costs.json.

    python scripts/paper_costs.py [TABLE ...]

Builds each model and counts the floating-point operations of one update by torch's counter, on random data of
the data set's shape, so no file is needed. Hours follow from these counts in zoo/reproduction/costs.py.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from hydra.utils import get_class

from zoo import factory
from zoo.config import compose_run, to_dict
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.core.flops import count_flops
from zoo.record import write_atomic
from zoo.reproduction import load, names
from zoo.reproduction.costs import FILE
from zoo.reproduction.runs import absent, overrides

# Shapes of the data sets, whose files need not be here.
SPECS = {
    "mnist": DataSpec((1, 28, 28), levels=256, classes=10),
    "mnist_logit": DataSpec((784,), classes=10),
    "mnist_static": DataSpec((1, 28, 28), levels=2),
    "mnist_dynamic": DataSpec((1, 28, 28), levels=2, classes=10),
    "cifar10": DataSpec((3, 32, 32), levels=256, classes=10),
    "imagenet32": DataSpec((3, 32, 32), levels=256, classes=1000),
    "imagenet32_original": DataSpec((3, 32, 32), levels=256),
    "imagenet64": DataSpec((3, 64, 64), levels=256, classes=1000),
    "imagenet64_original": DataSpec((3, 64, 64), levels=256),
    "power": DataSpec((6,)),
    "gas": DataSpec((8,)),
    "hepmass": DataSpec((21,)),
    "miniboone": DataSpec((43,)),
    "bsds300": DataSpec((63,)),
    "dna": DataSpec((180,), levels=2),
    "mushrooms": DataSpec((112,), levels=2),
    "nips": DataSpec((500,), levels=2),
}
PLANE = DataSpec((2,))  # every other data set
EXAMPLES = 2  # the batch that is counted; operations grow in proportion


COUNTED: dict[str, dict[str, Any]] = {}  # by the configuration: two tables may share a recipe


def count(key: str, settings: list[str], on: str) -> dict[str, Any]:
    """Return operations, updates and parameters of one run of a recipe.

    Args:
        key: the recipe's, for errors.
        settings: its overrides.
        on: ``meta``, where nothing is computed, or ``cpu``, for models that branch on values.
    """
    config = compose_run(settings)
    training = to_dict(config.training)
    same = json.dumps([to_dict(config.model), training, str(config.hydra.runtime.choices.data)], default=str)
    if same in COUNTED:
        return COUNTED[same]
    spec = SPECS.get(str(config.hydra.runtime.choices.data), PLANE)
    torch.manual_seed(0)
    if on == "meta":
        try:
            with torch.device("meta"):
                model = factory.instantiate(to_dict(config.model), spec)
        except RuntimeError:  # its construction computes with values (NotImplementedError is one)
            model = factory.instantiate(to_dict(config.model), spec).to("meta")
    else:
        model = factory.instantiate(to_dict(config.model), spec)
    for module in model.modules():
        if "initialised" in module._buffers:  # activation normalisation branches on it
            module._buffers["initialised"] = torch.tensor(True, device="cpu")
    size = EXAMPLES * int(to_dict(config.model).get("packing", 1))  # whole packs of a packed discriminator
    shape = (size, *spec.shape)
    with torch.device(on):
        x = torch.zeros(shape) if spec.levels is not None or on == "meta" else torch.randn(shape)
        y = torch.zeros(size, dtype=torch.long) if getattr(model, "conditional", False) else None
        if on == "cpu":
            update(model, x, y, training)  # what is computed once, such as spectral norms, is not counted
        flops, reason = count_flops(lambda: update(model, x, y, training))
    if flops is None:
        raise RuntimeError(f"{key}: {reason}")
    updates = int(training["updates"])
    COUNTED[same] = {
        "flops": flops / size * updates * int(training["batch_size"]),
        "updates": updates,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    return COUNTED[same]


def update(model: Any, x: torch.Tensor, y: torch.Tensor | None, training: dict[str, Any]) -> None:
    """Compute the gradients of one update by the model's training rule."""
    rule = get_class(training["_target_"]).__name__
    if rule == "Adversarial":
        real = model.to_network(x)
        if training.get("simultaneous"):
            generated = model.generate(len(x))
            fake = generated.detach().requires_grad_()
            on_fake = model.critic(fake)
            (slopes,) = torch.autograd.grad(on_fake.sum(), fake, retain_graph=True)
            total = on_fake.sum() - model.critic(real).sum() + (slopes * generated).sum()
            total.backward(inputs=[weight for weight in model.parameters() if weight.requires_grad])
            return
        for _ in range(int(training.get("critic_steps", 1))):
            with torch.no_grad():
                fake = model.generate(len(x))
            (model.critic(fake).sum() - model.critic(real).sum()).backward()
        model.critic(model.generate(len(x))).sum().backward()
    elif rule == "Matching":
        model.matching_loss(x).sum().backward()
    else:
        (model.log_prob(x) if y is None else model.log_prob(x, y)).sum().neg().backward()


def main() -> None:
    for name in sys.argv[1:] or names():
        table = load(name)
        for key, recipe in table.recipes.items():
            if absent(recipe):
                continue
            settings = overrides(recipe, recipe.seeds[0])
            try:
                found = count(key, settings, "meta")
            except Exception:  # whatever a model does with values; the CPU has them
                try:
                    found = count(key, settings, "cpu")
                except (RuntimeError, ZooError) as error:  # the count or the model refuses the recipe
                    print(f"{name} {key}: not counted ({' '.join(str(error).split())[:120]})", flush=True)
                    continue
            print(f"{name} {key}: {found['flops']:.3g} FLOP", flush=True)
            # another process may have counted other tables meanwhile
            counted = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
            counted.setdefault(name, {})[key] = found
            write_atomic(FILE, json.dumps(dict(sorted(counted.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
