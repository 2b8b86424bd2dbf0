"""``zoo doctor``: print the devices, locks, data sets, weights and versions of this machine."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape

from zoo.config import compose_run, options, to_dict
from zoo.errors import REFUSED, ZooError
from zoo.evaluation.classifiers import SHIPPED
from zoo.evaluation.features import PUBLISHED
from zoo.locks import has_flock, lock
from zoo.processes import usable_cores
from zoo.running.data import prepare_data
from zoo.running.provenance import versions
from zoo.tracking.login import wandb_mode


def check_machine(root: Path | None = None) -> int:
    """Print devices, locks, data sets found, weights, W&B mode and versions; return the exit code.

    It is 2 if zoo's lock does not work there or could not be tested, and 0 otherwise.

    Args:
        root: directory of the data sets, by default ``data.root`` of the configuration; the file system whose
            locks are tested, by default that of the working directory.

    Raises:
        ZooError: the root is no directory.
    """
    if root is not None and not root.is_dir():
        raise ZooError(f"There is no directory {root}; make it, or name another one by --root.")
    console = Console(highlight=False)
    about_locks, works = locks(root or Path.cwd())
    for title, lines in {
        "Devices": devices(),
        "Locks": about_locks,
        "Data[/] (where: data.root= or ZOO_DATA)[bold]": data_sets(root),
        "Weights": weights(),
        "W&B": [wandb_mode()],
        "Versions": [f"{package:14} {version}" for package, version in versions().items()],
    }.items():
        console.print(f"[bold]{title}[/]")
        for line in lines:
            console.print(f"  {line}", soft_wrap=True)
    return 0 if works else REFUSED


def devices() -> Iterator[str]:
    """Yield a line for the processor and for each GPU."""
    cores, threads = f"{os.cpu_count()} cores ({usable_cores()} usable)", torch.get_num_threads()
    yield f"cpu: {cores}, {threads} threads, {platform.machine()}"
    for index in range(torch.cuda.device_count()):
        yield f"cuda:{index}: {torch.cuda.get_device_name(index)}"
    if not torch.cuda.is_available():
        yield "no CUDA device"


QUESTION = """
import sys
from pathlib import Path
from zoo.locks import is_locked
print(is_locked(Path(sys.argv[1])))
"""


def locks(root: Path) -> tuple[list[str], bool]:
    """Return lines on the locks of a directory's file system, and whether zoo's lock works there.

    Locks keep two processes from one run.
    """
    kind, mounted = file_system(root)
    lines = [f"{escape(str(root.absolute()))}: {kind}" + (f" ({', '.join(mounted)})" if mounted else "")]
    try:
        if has_flock(root):
            lines.append("flock          [green]ok[/]")
        else:
            lines.append("flock          [yellow]absent[/] files with a heartbeat take its place")
        with tempfile.TemporaryDirectory(dir=root, prefix=".zoo-doctor-") as place:
            answers = []
            for held in (True, False):
                with contextlib.ExitStack() as stack:
                    if held:
                        stack.enter_context(lock(Path(place)))
                    answers.append(_is_locked_for_another(place))
    except OSError as error:
        return [*lines, f"zoo's lock     [red]unknown[/] {escape(str(error))}"], False
    works = answers == ["True", "False"]
    verdict = (
        "[green]ok[/] a second process waits while the first has it"
        if works
        else "[red]broken[/] two processes could train one run here: use another file system"
    )
    return [*lines, f"zoo's lock     {verdict}"], works


def _is_locked_for_another(place: str) -> str:
    """Return what another process finds out about a lock."""
    answer = subprocess.run(
        [sys.executable, "-c", QUESTION, place], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    return answer.stdout.strip()


def file_system(directory: Path) -> tuple[str, list[str]]:
    """Return the kind of a directory's file system and the options of its mount that are about locks."""
    longest, kind, mounted = 0, "unknown", ""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return kind, []
    for _, mount, *about in map(str.split, lines):
        place = Path(mount.replace("\\040", " "))
        if directory.resolve().is_relative_to(place) and len(mount) >= longest:
            longest, kind, mounted = len(mount), about[0], about[1]
    return kind, [option for option in mounted.split(",") if "lock" in option]


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
