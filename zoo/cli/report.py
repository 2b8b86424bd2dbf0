"""The output of a single run: its progress while it trains, and its result."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from zoo.record import Metric, Record
from zoo.sweep.display import describe_progress


class ProgressLine:
    """Prints the progress of a run: one changing line on a terminal, a new line now and then elsewhere."""

    def __init__(self, every: float = 8.0) -> None:
        self.console, self.every = Console(stderr=True, highlight=False), every
        self.last_line = -1e9

    def __call__(self, progress: dict[str, Any]) -> None:
        line = f"{progress['label']}: {progress['phase']} · {describe_progress(progress)}"
        training = progress["phase"] == "training"
        if self.console.is_terminal:
            width = self.console.width - 1
            self.console.print(line.ljust(width)[:width], end="\r" if training else "\n", markup=False)
        elif not training or time.monotonic() - self.last_line > self.every:
            self.last_line = time.monotonic()
            self.console.print(line, markup=False, soft_wrap=True)


def print_result(record: Record, directory: Path) -> None:
    """Print the status and the metrics of a run."""
    console = Console(highlight=False)
    console.print(f"[bold]{escape(record.run_id)}[/] {record.status}", soft_wrap=True)
    for name, metric in record.metrics.items():
        console.print(f"  {name:18} {_describe(metric)}", markup=False, soft_wrap=True)
    console.print(f"  record in {directory}", markup=False, soft_wrap=True)


def _describe(metric: Metric) -> str:
    if metric.value is None:
        return f"none: {metric.reason}"
    error = f" ± {metric.standard_error:.2g}" if metric.standard_error is not None else ""
    unit = "" if metric.unit == "1" else f" {metric.unit}"
    remark = f"; {text}" if (text := metric.details.get("remark")) else ""
    return f"{metric.value:.4g}{error}{unit} ({metric.kind}, {metric.split}, n={metric.n}{remark})"
