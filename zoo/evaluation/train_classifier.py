"""Train a classifier of the package: ``python -m zoo.evaluation.train_classifier NAME [data.root=...]``.

Writes the classifier's file in ``zoo/evaluation/weights``, with its accuracies in the metadata. It is trained
on the training split alone; the epoch is chosen by the validation split. Seeded, with one thread, it takes
seconds for digits and minutes for the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data.digits import Digits
from zoo.data.module import DataModule
from zoo.data.torchvision_sets import CIFAR10, MNIST
from zoo.errors import ZooError
from zoo.evaluation.classifiers import SHIPPED, Classifier, Shipped
from zoo.evaluation.features import sha256

DECAY, SEED = 1e-2, 0


@dataclass(frozen=True)
class Recipe:
    """How one classifier is trained: its data, epochs and augmentation.

    Images are shifted by up to ``shift`` pixels and mirrored where ``mirror`` is set; ``half`` rounds the
    final weights to half precision, which halves their file.
    """

    classifier: Shipped
    data: Callable[[str | None], DataModule]
    source: str
    epochs: int
    batch_size: int
    rate: float
    shift: int = 0
    mirror: bool = False
    half: bool = False


RECIPES = {
    "digits": Recipe(
        SHIPPED["digits-cnn"],
        lambda root: Digits(),
        "digits (scikit-learn), train split",
        epochs=30,
        batch_size=64,
        rate=2e-3,
    ),
    "mnist": Recipe(
        SHIPPED["mnist-cnn"],
        lambda root: MNIST(root=root),
        "MNIST, train split",
        epochs=3,
        batch_size=128,
        rate=2e-3,
        shift=2,
    ),
    "cifar10": Recipe(
        SHIPPED["cifar-cnn"],
        lambda root: CIFAR10(root=root),
        "CIFAR-10, train split",
        epochs=4,
        batch_size=128,
        rate=3e-3,
        shift=3,
        mirror=True,
        half=True,
    ),
}


def train(recipe: Recipe, data: DataModule) -> tuple[Classifier, dict[str, str]]:
    """Return the classifier at its best epoch, and the metadata to store with it."""
    splits, labels = data.splits, data.labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = recipe.classifier.build()
        optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=DECAY)
        x, y = splits["train"], labels["train"].long()
        steps = recipe.epochs * -(-len(x) // recipe.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
        best, state = (-1.0, float("-inf")), model.state_dict()
        for _ in range(recipe.epochs):
            model.train()
            for rows in torch.randperm(len(x)).split(recipe.batch_size):
                batch = augmented(x[rows].float(), recipe)
                loss = F.cross_entropy(model(batch), y[rows], label_smoothing=0.05)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            model.eval()
            reached = _score(model, splits["val"], labels["val"])
            if reached > best:
                best, state = reached, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    if recipe.half:
        model = model.half().float()
        best = _score(model.eval(), splits["val"], labels["val"])
    metadata = {
        "command": recipe.classifier.command,
        "data": recipe.source,
        "split_rule": data.split_rule,
        "seed": str(SEED),
        "val_accuracy": f"{best[0]:.4f}",
        "test_accuracy": f"{accuracy(model, splits['test'], labels['test']):.4f}",
    }
    return model.eval(), metadata


def augmented(x: Tensor, recipe: Recipe) -> Tensor:
    """Return images ``(B, C, H, W)``, the batch shifted by a few pixels and each image mirrored or not."""
    if recipe.shift:
        down, right = torch.randint(-recipe.shift, recipe.shift + 1, (2,)).tolist()
        height, width = x.shape[2:]
        padded = F.pad(x, [recipe.shift] * 4)
        top, left = recipe.shift + down, recipe.shift + right
        x = padded[:, :, top : top + height, left : left + width]
    if recipe.mirror:
        x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    return x


@torch.no_grad()
def accuracy(model: Classifier, x: Tensor, y: Tensor) -> float:
    """Return the share of images ``(N, C, H, W)`` that are classified correctly."""
    return (_logits(model, x).argmax(1) == y).double().mean().item()


@torch.no_grad()
def _score(model: Classifier, x: Tensor, y: Tensor) -> tuple[float, float]:
    logits = _logits(model, x)
    return (logits.argmax(1) == y).double().mean().item(), -F.cross_entropy(logits, y.long()).item()


def _logits(model: Classifier, x: Tensor) -> Tensor:
    return torch.cat([model(part.float()) for part in x.split(1000)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a classifier, write its file and print its accuracy and checksum."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description="Train a classifier whose features compare images.")
    parser.add_argument("name", choices=RECIPES, help="its data")
    parser.add_argument("root", nargs="?", default="", help="data.root=FOLDER of the data sets")
    parser.add_argument("--output", type=Path, help="the file to write; by default the package's own")
    chosen = parser.parse_args(arguments)
    if chosen.root and not chosen.root.startswith("data.root="):
        parser.error(f"'{chosen.root}' is not data.root=FOLDER")
    recipe = RECIPES[chosen.name]
    torch.set_num_threads(1)
    data = recipe.data(chosen.root.removeprefix("data.root=") or None)
    try:
        data.setup()
    except ZooError as error:
        parser.error(str(error))
    model, metadata = train(recipe, data)
    output = chosen.output or recipe.classifier.path
    output.parent.mkdir(parents=True, exist_ok=True)
    state = model.half().state_dict() if recipe.half else model.state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, str(output), metadata=metadata)
    print(
        f"{output}: validation accuracy {metadata['val_accuracy']}, test accuracy "
        f"{metadata['test_accuracy']}, sha256 {sha256(output)}"
    )


if __name__ == "__main__":
    main()
