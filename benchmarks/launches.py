"""Kernels that an update of each planned model launches, counted without a GPU.

Eager torch launches a kernel for each operation that computes; a view (a transpose, a slice, an expansion)
launches none but takes the host's time too. Their number depends neither on the batch nor on the number of
GPUs, so it bounds from below how short an update can be: benchmarks/scaling_plan.py takes the larger of
computing and launching. Counted are the forward and the backward pass, not the optimiser, clipping and the
moving average (fused, a few dozen kernels), nor the casts of mixed precision.

    python benchmarks/launches.py       # writes results/scaling/launches.json
"""

from __future__ import annotations

import json
import platform
from typing import Any

import torch
from scaling_plan import LAUNCHES, SWEEP, Entry, on_each_device
from torch.utils._python_dispatch import TorchDispatchMode

# Operations that only reserve memory or wrap a tensor.
_FREE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "detach"}


class Launches(TorchDispatchMode):
    """Counts the operations that launch a kernel, and the views."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.views = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.is_view or func._schema.name == "aten::_unsafe_view":
            self.views += 1
        elif func._schema.name.removeprefix("aten::") not in _FREE:
            self.kernels += 1
        return func(*args, **(kwargs or {}))


def launches(entry: Entry) -> dict[str, int]:
    """Return the kernels and the views of one update."""

    def count(model: Any, update: Any, x: torch.Tensor) -> Launches:
        with Launches() as counted:
            update(model, x)
        return counted

    counted = on_each_device(entry, count)
    return {"kernels": round(counted.kernels * entry.calls), "views": round(counted.views * entry.calls)}


def main() -> None:
    torch.set_num_threads(1)
    models = {}
    for entry in SWEEP:
        models[entry.name] = launches(entry)
        print(f"{entry.name}: {models[entry.name]}", flush=True)
    result = {
        "command": "python benchmarks/launches.py",
        "models": models,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    LAUNCHES.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
