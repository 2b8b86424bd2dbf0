"""``zoo doctor``: print the devices, data sets, weights and versions of this machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape

from zoo.config import compose_run, options, to_dict
from zoo.errors import ZooError
from zoo.evaluation.classifiers import SHIPPED
from zoo.evaluation.features import PUBLISHED
from zoo.running.data import prepare_data
from zoo.running.provenance import versions
from zoo.tracking.login import wandb_mode


def check_machine(root: Path | None = None) -> int:
    """Print devices, data sets found, weights, W&B mode and versions; return 0.

    Args:
        root: directory of the data sets; by default ``data.root`` of the configuration.
    """
    console = Console(highlight=False)
    for title, lines in {
        "Devices": devices(),
        "Data[/] (where: data.root= or ZOO_DATA)[bold]": data_sets(root),
        "Weights": weights(),
        "W&B": [wandb_mode()],
        "Versions": [f"{package:14} {version}" for package, version in versions().items()],
    }.items():
        console.print(f"[bold]{title}[/]")
        for line in lines:
            console.print(f"  {line}", soft_wrap=True)
    return 0


def devices() -> Iterator[str]:
    """Yield a line for the processor and for each GPU."""
    yield f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.machine()}"
    for index in range(torch.cuda.device_count()):
        yield f"cuda:{index}: {torch.cuda.get_device_name(index)}"
    if not torch.cuda.is_available():
        yield "no CUDA device"


def data_sets(root: Path | None) -> Iterator[str]:
    """Yield a line for each data set: the sizes of its splits, or why it cannot be read."""
    os.environ["ZOO_NO_DOWNLOAD"] = "1"
    for name in options("data"):
        if name in ("images", "table"):
            yield f"{name:14} your own: data={name} data.path=..."
            continue
        try:
            overrides = [f"data={name}"] + ([f"data.root={root}"] if root else [])
            data = prepare_data(to_dict(compose_run(overrides).data))
            yield f"{name:14} [green]ok[/] { {split: len(x) for split, x in data.splits.items()} }"
        except (ZooError, OSError) as error:
            yield f"{name:14} [yellow]absent[/] {escape(str(error))}"


def weights() -> Iterator[str]:
    """Yield a line for each feature extractor: whether its weights are there."""
    for name, shipped in SHIPPED.items():
        try:
            accuracy = float(shipped.load()[1]["val_accuracy"])
            state = f"[green]ok[/] in the package; {accuracy:.1%} correct on its validation images"
        except ZooError as error:
            state = f"[red]unreadable[/] {escape(str(error))}"
        yield f"{name:20} {state}"
    for name, published in PUBLISHED.items():
        there = published.path().is_file()
        state = "[green]ok[/]" if there else f"[yellow]absent[/] no {published.metric} until it is at"
        yield f"{name:20} {state} {escape(str(published.path()))}"
