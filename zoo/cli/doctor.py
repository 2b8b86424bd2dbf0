"""``zoo doctor``: what this machine has."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape

from zoo.config import compose_run, options
from zoo.errors import ZooError
from zoo.evaluation.classifiers import SHIPPED
from zoo.evaluation.features import PUBLISHED
from zoo.tracking.login import wandb_mode

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "torch-fidelity",
    "torchdiffeq",
    "hydra-core",
    "wandb",
)


def check_machine(root: Path | None = None) -> int:
    """Print devices, data sets found, weights, W&B mode and versions; returns 0."""
    from zoo.config import to_dict
    from zoo.running.data import prepare_data

    console = Console(highlight=False)
    console.print("[bold]Devices[/]")
    console.print(f"  cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.machine()}")
    for index in range(torch.cuda.device_count()):
        console.print(f"  cuda:{index}: {torch.cuda.get_device_name(index)}")
    if not torch.cuda.is_available():
        console.print("  no CUDA device")
    console.print("[bold]Data[/] (data.root= or ZOO_DATA says where)")
    for name in options("data"):
        if name in ("images", "table"):
            console.print(f"  {name:14} your own: data={name} data.path=...")
            continue
        try:
            overrides = [f"data={name}"] + ([f"data.root={root}"] if root else [])
            os.environ["ZOO_NO_DOWNLOAD"] = "1"
            sizes = {
                split: len(x)
                for split, x in prepare_data(to_dict(compose_run(overrides).data)).splits.items()
            }
            console.print(f"  {name:14} [green]ok[/] {sizes}")
        except (ZooError, OSError) as error:
            console.print(f"  {name:14} [yellow]absent[/] {escape(str(error))}", markup=True, soft_wrap=True)
    console.print("[bold]Weights[/]")
    for line in weights():
        console.print(f"  {line}", soft_wrap=True)
    console.print(f"[bold]W&B[/]\n  {wandb_mode()}")
    console.print("[bold]Versions[/]")
    for package in PACKAGES:
        console.print(f"  {package:14} {importlib.metadata.version(package)}")
    return 0


def weights() -> Iterator[str]:
    """A line for each feature extractor: whether its weights are there."""
    for name, shipped in SHIPPED.items():
        try:
            accuracy = float(shipped.load()[1]["val_accuracy"])
            state = f"[green]ok[/] in the package; tells {accuracy:.1%} of its validation images right"
        except ZooError as error:
            state = f"[red]unreadable[/] {escape(str(error))}"
        yield f"{name:20} {state}"
    for name, published in PUBLISHED.items():
        there = published.path().is_file()
        state = "[green]ok[/]" if there else f"[yellow]absent[/] no {published.metric} until it is at"
        yield f"{name:20} {state} {escape(str(published.path()))}"
