"""Every family on ImageNet64 with five seeds on 64 GPUs: jobs, hours, storage and the cost of failures.

Measured here: the floating-point operations of an update, counted by torch on the models that zoo's own
configurations describe, and the sizes of records; the kernels of an update are those that
benchmarks/launches.py has counted. An update takes as long as computing on all GPUs of its job, or launching
its kernels, whichever is longer. Sizes, batches, lengths and GPUs are those of the sweep itself,
sweeps/imagenet64.yaml. Assumed: the table ASSUMPTIONS and, where a paper does not say how long to train, 100
epochs. All else follows.

    python benchmarks/scaling_plan.py       # reads launches.json in results/scaling, writes plan.{json,md}
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import yaml
from restarts import daly_interval, expected_time, young_interval
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import zoo
from zoo.config import compose_run, options, to_dict
from zoo.config.compose import merged
from zoo.factory import instantiate
from zoo.training.settings import ROWS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "scaling"
LAUNCHES = RESULTS / "launches.json"  # of benchmarks/launches.py
T = TypeVar("T")
Update = Callable[[Any, Tensor], None]  # the forward and backward pass of one update of a model
Count = Callable[[Any, Update, Tensor], T]
SHAPE = (3, 64, 64)
PLANNED = yaml.safe_load((ROOT / "sweeps" / "imagenet64.yaml").read_text())
# The overrides of each model or recipe, in the order of the sweep.
BLOCKS = {
    (o.get("+experiment") or o["model"]): o for o in (block["overrides"] for block in PLANNED["blocks"])
}


class Assumption(NamedTuple):
    """A number that is assumed, not measured."""

    value: float
    unit: str
    source: str


ASSUMPTIONS = {
    "gpus": Assumption(64, "GPUs", "the question"),
    "gpus_per_node": Assumption(
        PLANNED["overrides"]["trainer.devices"],
        "GPUs",
        "a usual node; a job has one, or a single GPU where launching takes longer than computing on eight",
    ),
    "seeds": Assumption(len(PLANNED["blocks"][0]["grid"]["seed"]), "runs of each model", "the question"),
    "images": Assumption(
        1_281_167, "images", "training set of ILSVRC 2012: Russakovsky et al. 2015, table 2"
    ),
    "peak": Assumption(989e12, "FLOP/s of a GPU", "H100 SXM, bf16, dense: NVIDIA's data sheet"),
    "use_transformer": Assumption(0.40, "of the peak", "assumed for attention and wide matrices"),
    "use_convolution": Assumption(0.25, "of the peak", "assumed for convolutions of 64 channels and more"),
    "use_small": Assumption(0.10, "of the peak", "assumed for many small or sequential operations"),
    "scaling": Assumption(0.90, "of eight GPUs' speed", "assumed for eight GPUs of a node against one"),
    "kernel": Assumption(5e-6, "s", "assumed for eager torch: the host's time to launch a kernel"),
    "view": Assumption(1.5e-6, "s", "assumed for eager torch: the host's time to make a view"),
    "beside": Assumption(0.05, "of training", "assumed for validation and the protocol"),
    "gpu_hours_per_failure": Assumption(
        54 * 24 * 16384 / 419,
        "GPU-hours",
        "Llama 3, 3.3.4: 419 unexpected interruptions in 54 days of 16,384",
    ),
    "preempted_hours": Assumption(24, "hours of a job", "assumed for a shared cluster; one's own has none"),
    "sweep_hours": Assumption(30 * 24, "hours", "assumed: the sweeping process dies once a month"),
    "again_hours": Assumption(
        1, "hours", "assumed: until somebody, or a timer, gives the same command again"
    ),
    "start_hours": Assumption(3 / 60, "hours", "assumed: start, read the checkpoint, compile"),
    "disk": Assumption(1e9, "bytes/s", "assumed: one job writing to shared storage"),
}
A = {name: assumed.value for name, assumed in ASSUMPTIONS.items()}


@dataclass(frozen=True)
class Entry:
    """A model of the sweep and how long it trains.

    Attributes:
        name: a recipe of ``conf/experiment/`` or a model of ``conf/model/``.
        settings: changes of its settings.
        batch: examples of an update.
        updates: number of updates of the model.
        averaged: whether a moving average of the weights is kept.
        devices: number of GPUs of a job.
        use: the assumption on the use of the GPU.
        source: source of the size, the batch and the length.
        counted: another model and settings whose operations are counted instead: as many, but faster.
        calls: how often an update repeats the counted operations, such as an ODE solver's evaluations.
    """

    name: str
    use: str
    batch: int
    source: str
    settings: dict[str, Any] = field(default_factory=dict)
    counted: tuple[str, dict[str, Any]] | None = None
    updates: int = 1
    calls: float = 1.0
    averaged: bool = False
    devices: int = 1


def planned(
    name: str, use: str, source: str, counted: tuple[str, dict[str, Any]] | None = None, calls: float = 1.0
) -> Entry:
    """Return the entry of a model, with settings, batch and length from the sweep."""
    overrides = BLOCKS[name]
    settings = {key.removeprefix("model."): v for key, v in overrides.items() if key.startswith("model.")}
    batch, updates = overrides["training.batch_size"], overrides["training.updates"]
    averaged = overrides.get("training.ema", 0.0) > 0
    devices = overrides.get("trainer.devices", PLANNED["overrides"]["trainer.devices"])
    return Entry(name, use, batch, source, settings, counted, updates, calls, averaged, devices)


UNET = BLOCKS["iddpm_cifar10"]["model.unet"]
UNSTATED = "length assumed: 100 epochs, as TarFlow"
ENTRIES = {
    entry.name: entry
    for entry in (
        planned(
            "realnvp_cifar10", "convolution",
            f"Dinh et al. 2017, section 4.1 (batch; 64x64: 2 blocks of 32); {UNSTATED}",
        ),
        planned(
            "glow_cifar10", "convolution",
            f"Kingma and Dhariwal 2018, table 4 (4 levels of 48 steps); {UNSTATED}",
        ),
        planned(
            "nsf_coupling_imagenet64", "convolution",
            "bayesiains/nsf (batch); length as its CIFAR-10",
        ),
        planned(
            "tarflow_imagenet64_bpd", "transformer",
            "apple/ml-tarflow: batch and 100 epochs are stated",
        ),
        planned(
            "iresnet", "small", f"jhjacobsen/invertible-resnet (batch, width, terms); {UNSTATED}",
            ("iresnet", {"blocks": 2, "width": 512}), calls=24,
        ),
        planned(
            "ffjord", "small",
            "rtqichen/ffjord (batch of 900, channels); 150 evaluations of the field an update assumed; "
            f"{UNSTATED}",
            ("ffjord", {"solver": {"method": "euler", "steps": 1}, "channels": [64, 64, 64]}), calls=150,
        ),
        planned(
            "flow_matching_cifar10", "convolution",
            "U-Net and length held equal to diffusion's",
            ("flow_matching_cifar10", {"unet": UNET, "coupling": "independent"}),
        ),
        planned(
            "iddpm_cifar10", "convolution",
            "openai/improved-diffusion, README: ImageNet-64, unconditional",
            ("flow_matching_cifar10", {"unet": UNET, "coupling": "independent"}),
        ),
        planned(
            "pixelcnn_pp_cifar10", "convolution", f"openai/pixel-cnn (size, batch); {UNSTATED}",
        ),
        planned(
            "vae_hierarchical", "convolution", f"width 128, 2 layers at each size assumed; {UNSTATED}",
        ),
        planned(
            "sngan_cifar10", "convolution",
            "pfnet-research/sngan_projection (size, batch, steps); length as Miyato et al. 2018 on ImageNet",
        ),
    )
}  # fmt: skip
SWEEP = tuple(ENTRIES[name] for name in BLOCKS)


# Counting -----------------------------------------------------------------------------------------


def operations(entry: Entry) -> tuple[int, float]:
    """Return parameters, and floating-point operations of one update per example (a multiply-add is two).

    They are counted on the meta device, without computing; a model that branches on values needs the CPU.
    """
    size = sum(p.numel() for p in _on_meta(entry.name, entry.settings).parameters())
    return size, on_each_device(entry, _flops) * entry.calls


def on_each_device(entry: Entry, count: Count[T]) -> T:
    """Return ``count(model, update, x)`` on the meta device; on the CPU if the model branches on values.

    ``update(model, x)`` is the forward and backward pass of one update.
    """
    counted = entry.counted or (entry.name, entry.settings)
    try:
        with torch.device("meta"):
            return _counted(_on_meta(*counted), count)
    except RuntimeError:
        return _counted(_build(*counted), count)


def _build(name: str, settings: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    choice = f"+experiment={name}" if name in options("experiment") else f"model={name}"
    composed = merged(to_dict(compose_run([choice]).model), settings)
    model = instantiate(composed, zoo.DataSpec(SHAPE, levels=256))
    for module in model.modules():
        if "initialised" in module._buffers:  # activation normalisation branches on it
            module._buffers["initialised"] = torch.tensor(True, device="cpu")
    return model


def _on_meta(name: str, settings: dict[str, Any]) -> Any:
    try:
        with torch.device("meta"):
            return _build(name, settings)
    except (RuntimeError, NotImplementedError):  # its construction computes with values
        return _build(name, settings).to("meta")


class _NoModules:
    """No counts per module: they need hooks, with which ``autograd.grad`` inside a model fails."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def _counted(model: Any, count: Count[T]) -> T:
    update = _matching if hasattr(model, "matching_loss") else _likelihood
    if model.likelihood == "none":
        update = _adversarial
    x = torch.zeros(1, *SHAPE)
    if x.device.type == "cpu":
        update(model, x)  # what a model computes only once, such as spectral norms, is not counted
    return count(model, update, x)


def _flops(model: Any, update: Update, x: Tensor) -> float:
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()  # type: ignore[assignment]
    with counter:
        update(model, x)
    return counter.get_total_flops()


def _likelihood(model: Any, x: Tensor) -> None:
    model.log_prob(x).sum().neg().backward()


def _matching(model: Any, x: Tensor) -> None:
    model.matching_loss(x).sum().backward()


def _adversarial(model: Any, x: Tensor, critic_steps: int = 5) -> None:
    """Count SNGAN's recipe: five critic steps on a real and a fake example, a generator step on two."""
    real = model.to_network(x)
    for _ in range(critic_steps):
        with torch.no_grad():
            fake = model.generate(1)
        (model.critic(fake).sum() - model.critic(real).sum()).backward()
    model.critic(model.generate(2)).sum().backward()


# Derived numbers ---------------------------------------------------------------------------------


def write_hours(size: int, entry: Entry) -> float:
    return checkpoint_bytes(size, entry) / A["disk"] / 3600 + 1 / 3600


def checkpoint_bytes(size: int, entry: Entry) -> int:
    """Return the bytes of weights, two moments and the moving average, if there is one, in float32."""
    return 4 * size * (4 if entry.averaged else 3)


def failure_rate(preempted: bool) -> float:
    """Return the failures per hour of a job: a node's failure ends all its jobs."""
    hardware = A["gpus_per_node"] / A["gpu_hours_per_failure"]
    return hardware + 1 / A["sweep_hours"] + (1 / A["preempted_hours"] if preempted else 0.0)


def row(entry: Entry) -> dict[str, Any]:
    """Return the plan for one model."""
    size, flops = operations(entry)
    counted = json.loads(LAUNCHES.read_text())["models"][entry.name]
    total = flops * entry.batch * entry.updates
    computing = flops * entry.batch / (A["peak"] * A[f"use_{entry.use}"])  # seconds of an update on one GPU
    node = computing / (A["gpus_per_node"] * A["scaling"])
    computing = node if entry.devices > 1 else computing
    launching = counted["kernels"] * A["kernel"] + counted["views"] * A["view"]
    hours = entry.updates * max(computing, launching) / 3600 * (1 + A["beside"])
    write, start = write_hours(size, entry), A["start_hours"]
    plan: dict[str, Any] = {
        "model": entry.name,
        "settings": entry.settings,
        "parameters": size,
        "flops_per_example": flops,
        "batch": entry.batch,
        "updates": entry.updates,
        "total_flops": total,
        "use": A[f"use_{entry.use}"],
        **counted,
        "devices": entry.devices,
        "computing_seconds": computing,
        "computing_seconds_on_a_node": node,
        "launching_seconds": launching,
        "hours": hours,
        "gpu_hours": hours * entry.devices * A["seeds"],
        "checkpoint_bytes": checkpoint_bytes(size, entry),
        "write_hours": write,
        "source": entry.source,
    }
    for name, preempted in (("own", False), ("shared", True)):
        rate = failure_rate(preempted)
        count = max(1, round(hours / daly_interval(write, rate)))
        plan[name] = {
            "young_hours": young_interval(write, rate),
            "daly_hours": daly_interval(write, rate),
            "validations": count,
            "expected_hours": expected_time(hours, hours / count, write, start, rate),
            "expected_hours_by_default": expected_time(hours, hours / 20, write, start, rate),
            "failures": hours * rate,
        }
    return plan


def storage(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return bytes on disk: two checkpoints a run, records and curves as measured, samples and images."""
    runs = A["seeds"]
    records = list((ROOT / "results" / "quickstart" / "records").iterdir())

    def mean(name: str) -> float:
        return sum((folder / name).stat().st_size for folder in records) / len(records)

    logged = [min(r["updates"] / 10, ROWS) for r in rows]  # training.log_every, within its budget
    lines = [len((f / "curves.csv").read_text().splitlines()) for f in records]
    line = mean("curves.csv") / (sum(lines) / len(lines))
    return {
        "checkpoints": sum(2 * r["checkpoint_bytes"] for r in rows) * runs,
        "records": mean("record.json") * len(rows) * runs,
        "curves": line * sum(logged) * runs,
        "samples": 2 * 100 * math.prod(SHAPE) * len(rows) * runs,
        "images": A["images"] * math.prod(SHAPE),
    }


def totals(rows: list[dict[str, Any]]) -> dict[str, float]:
    gpu_hours = sum(r["gpu_hours"] for r in rows)
    longest = max(r["hours"] for r in rows)
    result = {
        "jobs": len(rows) * A["seeds"],
        "gpu_hours": gpu_hours,
        "days_at_least": max(gpu_hours / A["gpus"], longest) / 24,
        "longest_job_hours": longest,
        "total_flops": sum(r["total_flops"] for r in rows) * A["seeds"],
    }
    for name in ("own", "shared"):
        spent = sum(r[name]["expected_hours"] * r["devices"] for r in rows) * A["seeds"]
        default = sum(r[name]["expected_hours_by_default"] * r["devices"] for r in rows) * A["seeds"]
        result[f"{name}_wasted_share"] = 1 - gpu_hours / spent
        result[f"{name}_wasted_share_by_default"] = 1 - gpu_hours / default
        result[f"{name}_failures"] = sum(r[name]["failures"] for r in rows) * A["seeds"]
    return result


# Text ---------------------------------------------------------------------------------------------


def table(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines)) + "\n"


def si(value: float, unit: str = "") -> str:
    """Return a number in three digits with its prefix.

    >>> si(1_281_167, "B"), si(15.6e6)
    ('1.28 MB', '15.6 M')
    """
    power = min(7, max(0, math.floor(math.log10(abs(value)) / 3))) if value else 0
    return f"{value / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z'][power]}{unit}".strip()


def markdown(plan: dict[str, Any]) -> dict[str, str]:
    """Return the tables of docs/scaling.md."""
    rows, sums, room = plan["rows"], plan["totals"], plan["storage"]
    head = [
        "model",
        "weights",
        "FLOP/example",
        "batch",
        "updates",
        "of peak",
        "kernels/update",
        "GPUs",
        "computing (ms)",
        "launching (ms)",
        "h/run",
        "GPU-h, all seeds",
    ]
    jobs = table(head, [_job(r) for r in rows])
    head = ["model", "checkpoint", "own: interval (h)", "validations", "failures/run"]
    head += ["shared: interval (h)", "validations", "failures/run"]
    saving = table(
        head,
        [[r["model"], si(r["checkpoint_bytes"], "B"), *_pace(r["own"]), *_pace(r["shared"])] for r in rows],
    )
    whole = table(
        ["the sweep", ""],
        [
            ["jobs", f"{sums['jobs']:.0f}"],
            ["floating-point operations", si(sums["total_flops"])],
            ["GPU-hours", f"{sums['gpu_hours']:,.0f}"],
            ["days on all GPUs, at least", f"{sums['days_at_least']:,.1f}"],
            ["hours of the longest job", f"{sums['longest_job_hours']:,.1f}"],
            *([f"{name} on disk", si(size, "B")] for name, size in room.items()),
            *(
                [f"{what}, {name} cluster", text]
                for name in ("own", "shared")
                for what, text in (
                    ("failures of jobs", f"{sums[f'{name}_failures']:,.1f}"),
                    ("time lost to them and to checkpoints", f"{sums[f'{name}_wasted_share']:.2%}"),
                    (
                        "the same with validations as they come (20)",
                        f"{sums[f'{name}_wasted_share_by_default']:.2%}",
                    ),
                )
            ),
        ],
    )
    assumptions = table(
        ["input", "value", "unit", "source"],
        [[name, f"{g.value:,.6g}", g.unit, g.source] for name, g in ASSUMPTIONS.items()],
    )
    sources = table(["model", "settings beyond its YAML", "source"], [
        [r["model"], f"`{json.dumps(r['settings'])}`" if r["settings"] else "none", r["source"]] for r in rows
    ])  # fmt: skip
    return {"jobs": jobs, "saving": saving, "whole": whole, "assumptions": assumptions, "sources": sources}


def _job(r: dict[str, Any]) -> list[str]:
    size = [r["model"], si(r["parameters"]), si(r["flops_per_example"]), str(r["batch"]), f"{r['updates']:,}"]
    update = [f"{1000 * r[f'{part}_seconds']:,.1f}" for part in ("computing", "launching")]
    times = [*update, f"{r['hours']:,.1f}", f"{r['gpu_hours']:,.0f}"]
    return [*size, f"{r['use']:.0%}", f"{r['kernels']:,}", str(r["devices"]), *times]


def _pace(kind: dict[str, float]) -> list[str]:
    return [f"{kind['daly_hours']:.2f}", f"{kind['validations']:,}", f"{kind['failures']:.2f}"]


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for entry in SWEEP:
        rows.append(row(entry))
        print(f"{entry.name}: {si(rows[-1]['flops_per_example'])}FLOP an example", flush=True)
    plan = {
        "command": "python benchmarks/scaling_plan.py",
        "assumptions": {name: assumed._asdict() for name, assumed in ASSUMPTIONS.items()},
        "rows": rows,
        "totals": totals(rows),
        "storage": storage(rows),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "plan.json").write_text(json.dumps(plan, indent=1) + "\n")
    for name, text in markdown(plan).items():
        (RESULTS / f"{name}.md").write_text(text)
        print(text)


if __name__ == "__main__":
    main()
