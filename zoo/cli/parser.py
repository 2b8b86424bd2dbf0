"""The command line of every command but ``zoo train``, whose arguments are Hydra's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from zoo.cli import commands as run
from zoo.cli import units

Add = Callable[..., argparse.ArgumentParser]  # makes the parser of a command


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; the parsed options have ``run``, the function of :mod:`zoo.cli.commands` to call."""
    parser = argparse.ArgumentParser(
        prog="zoo",
        description="Train every family of generative model and compare them by one protocol.",
        epilog="--debug anywhere shows tracebacks.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.add_parser(
        "train",
        help="train a model, evaluate it by the protocol, write its record (with -m: several)",
        add_help=False,
    )
    for add_command in (
        _add_sweep,
        _add_compare,
        _add_watch,
        _add_claims,
        _add_reproduce,
        _add_recommend,
        _add_figure,
        _add_show,
        _add_evaluate,
        _add_time,
        _add_sample,
        _add_sync,
        _add_workspace,
        _add_doctor,
    ):
        add_command(commands.add_parser)
    return parser


def _add_sweep(add: Add) -> None:
    parser = add("sweep", help="run sweeps/NAME.yaml: skip the runs that have finished, resume the others")
    parser.add_argument(
        "name", metavar="NAME", help="a shipped sweep, ./sweeps/NAME.yaml, or a path to a .yaml"
    )
    parser.add_argument("overrides", nargs="*", default=[], help="Hydra overrides for every job")
    parser.add_argument("--jobs", type=int, metavar="N", help="number of jobs at a time")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("--retry-failed", action="store_true", help="run failed jobs again")
    parser.add_argument("--again", action="store_true", help="make every run anew, even if it is done")
    parser.add_argument("--submit", action="store_true", help="fill Slurm's queue with the jobs and stop")
    parser.add_argument(
        "--mps", action="store_true", help="let jobs run on one GPU at the same time, by NVIDIA's MPS"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="directory of the runs (runs/NAME)")
    parser.set_defaults(run=run.sweep)


def _add_compare(add: Add) -> None:
    parser = add("compare", help="turn records into tables, figures and one HTML page")
    parser.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="write table, figures and page there")
    parser.add_argument(
        "--archive", action="store_true", help="also copy records, curves and samples into DIR/records"
    )
    parser.add_argument(
        "--pack",
        type=Path,
        metavar="FILE",
        help="write them to one .tar.gz or .tar.xz, which any command takes as RESULTS",
    )
    printed = parser.add_argument_group("what is printed (files have everything)")
    printed.add_argument("--data", metavar="NAME", help="one data set")
    printed.add_argument("--columns", metavar="A,B", help="these columns, such as bits/dim,fd,latency")
    printed.add_argument("--sort", metavar="COLUMN", help="best first, each kind of likelihood by itself")
    printed.add_argument("--format", choices=("md", "latex", "csv", "json"), help="instead of a table")
    parser.set_defaults(run=run.compare)


def _add_watch(add: Add) -> None:
    parser = add("watch", help="the page of zoo compare while the runs are made, for this machine alone")
    parser.add_argument("root", type=Path, metavar="DIR", help="directory of a sweep or of runs")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port (default: a free one)")
    parser.set_defaults(run=run.watch)


def _add_claims(add: Add) -> None:
    parser = add("claims", help="the lecture's sentences, each with its measurement and verdict")
    parser.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="write page, table and figures there")
    parser.set_defaults(run=run.claims)


def _add_reproduce(add: Add) -> None:
    parser = add(
        "reproduce",
        help="a paper's table: published, ours, difference, status, cell by cell",
        description="Run what a paper's table lacks and print it, number beside number; 'list' shows all.",
    )
    parser.add_argument("table", metavar="TABLE", help="a table's name, a YAML file of your own, or list")
    parser.add_argument(
        "overrides", nargs="*", default=[], help="where and how runs are made: data.root=, trainer=, ..."
    )
    parser.add_argument("--only", metavar="ROW/COLUMN", help="a row, a cell, or with /COLUMN a column")
    parser.add_argument("--seeds", metavar="N", help="number of seeds of each cell, or a list: 42,43 or 42,")
    parser.add_argument(
        "--budget", metavar="TIME", help="end each training after 30m, 2h, ...: never a verdict"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="number of jobs at a time")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    parser.add_argument("--check-data", action="store_true", help="compute the data's fingerprints and stop")
    parser.add_argument("--retry-failed", action="store_true", help="run failed jobs again")
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="directory of the runs (runs/reproduce/TABLE)"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="write table, page and figure there")
    parser.add_argument(
        "--archive",
        action="store_true",
        help="also pack records, curves and likelihoods into DIR/records.tar.xz",
    )
    parser.set_defaults(run=run.reproduce)


def _add_recommend(add: Add) -> None:
    parser = add(
        "recommend",
        help="which configuration to use under given constraints, and why not the others",
        description="Which of the measured configurations fulfil the constraints, how sure their order is, "
        "and what would change it. Nothing is extrapolated: what was not measured is listed with the sweep "
        "that measures it.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    limits = parser.add_argument_group("constraints")
    limits.add_argument(
        "--likelihood", choices=("any", "estimate", "bound", "exact"), default="any",
        help="weakest kind of likelihood to accept",
    )  # fmt: skip
    limits.add_argument(
        "--latency", type=units.duration, metavar="TIME", help="time of one sample, at most (10ms)"
    )
    limits.add_argument(
        "--throughput", type=units.count, metavar="N", help="samples per second, at least (1k)"
    )
    limits.add_argument(
        "--training", type=units.duration, metavar="TIME", help="device time of training, at most (2h)"
    )
    limits.add_argument(
        "--memory", type=units.memory, metavar="SIZE", help="memory of training, at most (4GB)"
    )
    limits.add_argument("--parameters", type=units.count, metavar="N", help="parameters, at most (2M)")
    limits.add_argument(
        "--lost",
        type=float,
        metavar="SHARE",
        help="share of runs lost: diverged, failed or collapsed (0.1)",
    )
    limits.add_argument("--invertible", action="store_true", help="only models with a measured inverse")
    limits.add_argument("--conditional", action="store_true", help="only models conditioned on labels")
    limits.add_argument(
        "--checkpoint", action="store_true", help="only models with trained weights beside a record"
    )
    which = parser.add_argument_group("data")
    which.add_argument("--data", metavar="NAME", help="data set (the one with most runs)")
    which.add_argument(
        "--dimension",
        type=int,
        metavar="D",
        help="dimension of your data: take the nearest measured one, within a factor of 2",
    )
    weights = parser.add_argument_group("weights of the criteria")
    weights.add_argument(
        "--fidelity", type=float, metavar="W", help="distance to the data (1; 0 where their density is known)"
    )
    weights.add_argument("--coverage", type=float, default=0.0, metavar="W", help="recall of the data (0)")
    weights.add_argument(
        "--density", type=float, metavar="W", help="likelihood, each kind apart (0; 1 where density is known)"
    )
    parser.add_argument("--all", action="store_true", help="list every excluded configuration")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.set_defaults(run=run.recommend)


def _add_figure(add: Add) -> None:
    parser = add("figure", help="draw one figure of records for a paper, as PDF, SVG or PNG")
    parser.add_argument(
        "kind", metavar="KIND",
        choices=("slide", "pareto", "samples", "curves", "speed", "densities", "tuning", "claims"),
        help="slide, pareto, samples, curves, speed, densities, tuning or claims",
    )  # fmt: skip
    parser.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FILE", help="a .pdf, .svg or .png file"
    )
    parser.add_argument("--width", choices=("column", "page"), default="column", help="3.25 or 6.75 inches")
    parser.add_argument("--data", metavar="NAME", help="data set to show (the one with most runs)")
    parser.set_defaults(run=run.figure)


def _add_show(add: Add) -> None:
    parser = add("show", help="one run on the terminal: its numbers, curves and samples")
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run, or a directory or archive of runs")
    parser.add_argument(
        "name", nargs="?", help="which run of a directory or archive; without it, they are listed"
    )
    parser.set_defaults(run=run.show)


def _add_evaluate(add: Add) -> None:
    parser = add(
        "evaluate",
        help="evaluate a finished run again by the present protocol",
        description="Evaluate a finished run again by the present protocol, with the evaluation settings of "
        "its record and the overrides given here, which are then stored in the record.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN")
    parser.add_argument(
        "overrides", nargs="*", metavar="evaluation.KEY=VALUE", help="such as evaluation.samples=5000"
    )
    parser.set_defaults(run=run.evaluate)


def _add_time(add: Add) -> None:
    parser = add(
        "time",
        help="time finished runs anew, in turns, on an idle machine",
        description="Time finished runs in turns, in shuffled order, with a canary beside each call, and "
        "write timing.json beside each record; comparisons and claims then use these times alone.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="RUNS", help="directories that hold runs")
    parser.add_argument(
        "--rounds",
        type=int,
        default=10,
        metavar="N",
        help="number of times each run has its turn (10); more, if too few calls were undisturbed",
    )
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[1, 16, 256], metavar="N", help="batch sizes (1 16 256)"
    )
    parser.add_argument("--device", default="cpu", help="device to sample on (cpu)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order of the turns (0)")
    parser.add_argument(
        "--limit", type=units.duration, default=60.0, metavar="TIME",
        help="after a call longer than this, no larger batches of the run (60s)",
    )  # fmt: skip
    parser.set_defaults(run=run.time)


def _add_sample(add: Add) -> None:
    parser = add("sample", help="draw samples from a trained run or checkpoint")
    parser.add_argument("run_dir", type=Path, metavar="RUN")
    parser.add_argument("-n", type=int, default=64, help="number of samples (64)")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("samples.png"),
        help="a .png grid, a .npy array or a .csv table",
    )
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.set_defaults(run=run.sample)


def _add_sync(add: Add) -> None:
    parser = add("sync", help="upload offline runs to W&B")
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="RUNS", help="directories that hold runs (runs)"
    )
    parser.set_defaults(run=run.sync)


def _add_workspace(add: Add) -> None:
    parser = add("workspace", help="save a W&B workspace: families, quality against cost, samples, curves")
    parser.add_argument("project", metavar="PROJECT", help="name of the project at W&B")
    parser.add_argument("--entity", metavar="NAME", help="user or team (your default one)")
    parser.add_argument(
        "--quality", action="append", metavar="METRIC", help="plot it against costs (bits_per_dim, nll, ...)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the specification; send nothing")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the specification there")
    parser.set_defaults(run=run.workspace)


def _add_doctor(add: Add) -> None:
    parser = add("doctor", help="show this machine's devices, locks, data, weights and versions")
    parser.add_argument("--root", type=Path, metavar="DIR", help="data root, whose file locks are tested")
    parser.set_defaults(run=run.doctor)
