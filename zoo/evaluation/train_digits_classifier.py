"""``python -m zoo.evaluation.train_digits_classifier``: the classifier whose features compare digits.

Writes ``zoo/evaluation/weights/digits-cnn.safetensors``, with the accuracies in its metadata. Trained on the
training split alone; the epoch is chosen by the validation split. Seeded, one thread, a few seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.evaluation.features import DIGITS_WEIGHTS, DigitsCNN, sha256

COMMAND = "python -m zoo.evaluation.train_digits_classifier"
EPOCHS, BATCH_SIZE, RATE, DECAY, SEED = 30, 64, 2e-3, 1e-2, 0


def train(splits: dict[str, Tensor], labels: dict[str, Tensor]) -> tuple[DigitsCNN, dict[str, str]]:
    """The classifier at its best epoch and the metadata to store with it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = DigitsCNN()
        optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
        x, y = splits["train"].float(), labels["train"].long()
        steps = EPOCHS * -(-len(x) // BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        best, state = (-1.0, float("-inf")), model.state_dict()
        for _ in range(EPOCHS):
            model.train()
            for rows in torch.randperm(len(x)).split(BATCH_SIZE):
                loss = F.cross_entropy(model(x[rows]), y[rows], label_smoothing=0.05)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            model.eval()
            reached = _score(model, splits["val"], labels["val"])
            if reached > best:
                best, state = reached, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    metadata = {
        "command": COMMAND,
        "data": "digits (scikit-learn), train split",
        "seed": str(SEED),
        "val_accuracy": f"{best[0]:.4f}",
        "test_accuracy": f"{accuracy(model, splits['test'], labels['test']):.4f}",
    }
    return model.eval(), metadata


@torch.no_grad()
def accuracy(model: DigitsCNN, x: Tensor, y: Tensor) -> float:
    """Share of digits ``(N, 1, 8, 8)`` that are told right."""
    return (model(x.float()).argmax(1) == y).double().mean().item()


@torch.no_grad()
def _score(model: DigitsCNN, x: Tensor, y: Tensor) -> tuple[float, float]:
    return accuracy(model, x, y), -F.cross_entropy(model(x.float()), y.long()).item()


def main() -> None:
    """Train, write, tell."""
    from safetensors.torch import save_file

    from zoo.data.digits import Digits

    parser = argparse.ArgumentParser(description="Train the digit classifier whose features compare digits.")
    parser.add_argument("--output", type=Path, default=DIGITS_WEIGHTS, help="the file to write")
    output = parser.parse_args().output
    torch.set_num_threads(1)
    data = Digits()
    data.setup()
    model, metadata = train(data.splits, data.labels)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, str(output), metadata=metadata)
    print(
        f"{output}: validation accuracy {metadata['val_accuracy']}, test accuracy "
        f"{metadata['test_accuracy']}, sha256 {sha256(output)}"
    )


if __name__ == "__main__":
    main()
