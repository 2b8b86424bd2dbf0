"""The command line of every command but ``zoo train``, whose arguments are Hydra's."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import commands as run


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; the parsed options have ``run``, the function of :mod:`zoo.cli.commands` to call."""
    parser = argparse.ArgumentParser(
        prog="zoo",
        description="Every family of generative model, trained by its own rule and judged by one protocol.",
        epilog="--debug anywhere shows tracebacks.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.add_parser(
        "train",
        help="train a model, evaluate it by the protocol, write its record (with -m: several)",
        add_help=False,
    )

    sweep = commands.add_parser(
        "sweep", help="run sweeps/NAME.yaml: skip the runs that have finished, resume the others"
    )
    sweep.add_argument(
        "name", metavar="NAME", help="a shipped sweep, ./sweeps/NAME.yaml, or a path to a .yaml"
    )
    sweep.add_argument("overrides", nargs="*", help="Hydra overrides for every job")
    sweep.add_argument("--jobs", type=int, metavar="N", help="number of jobs at a time")
    sweep.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    sweep.add_argument("--retry-failed", action="store_true", help="run failed jobs again")
    sweep.add_argument("-o", "--out", type=Path, metavar="DIR", help="directory of the runs (runs/NAME)")
    sweep.set_defaults(run=run.sweep)

    compare = commands.add_parser("compare", help="turn records into tables, figures and one HTML page")
    compare.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    compare.add_argument("-o", "--out", type=Path, metavar="DIR", help="write table, figures and page there")
    compare.add_argument(
        "--archive", action="store_true", help="also copy records, curves and samples into DIR/records"
    )
    compare.set_defaults(run=run.compare)

    claims = commands.add_parser(
        "claims", help="the lecture's sentences, each with its measurement and verdict"
    )
    claims.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    claims.add_argument("-o", "--out", type=Path, metavar="DIR", help="write page, table and figures there")
    claims.set_defaults(run=run.claims)

    reproduce = commands.add_parser(
        "reproduce",
        help="a paper's table: published, ours, difference, status, cell by cell",
        description="Run what a paper's table lacks and print it, number beside number; 'list' shows all.",
    )
    reproduce.add_argument("table", metavar="TABLE", help="a table's name, a YAML file of your own, or list")
    reproduce.add_argument(
        "overrides", nargs="*", help="where and how runs are made: data.root=, trainer=, ..."
    )
    reproduce.add_argument("--only", metavar="ROW/COLUMN", help="a row, a cell, or with /COLUMN a column")
    reproduce.add_argument(
        "--seeds", metavar="N", help="number of seeds of each cell, or a list such as 42,43"
    )
    reproduce.add_argument(
        "--budget", metavar="TIME", help="end each run after 30m, 2h, ...: never a verdict"
    )
    reproduce.add_argument("--jobs", type=int, metavar="N", help="number of jobs at a time")
    reproduce.add_argument("--report-only", action="store_true", help="run nothing")
    reproduce.add_argument(
        "--check-data", action="store_true", help="compute the data's fingerprints and stop"
    )
    reproduce.add_argument("--retry-failed", action="store_true", help="run failed jobs again")
    reproduce.add_argument(
        "--runs", type=Path, metavar="DIR", help="directory of the runs (runs/reproduce/TABLE)"
    )
    reproduce.set_defaults(run=run.reproduce)

    evaluate = commands.add_parser(
        "evaluate",
        help="evaluate a finished run again by the present protocol",
        description="Evaluate a finished run again by the present protocol, with the evaluation settings of "
        "its record and the overrides given here, which are then stored in the record.",
    )
    evaluate.add_argument("run_dir", type=Path, metavar="RUN")
    evaluate.add_argument(
        "overrides", nargs="*", metavar="evaluation.KEY=VALUE", help="such as evaluation.samples=5000"
    )
    evaluate.set_defaults(run=run.evaluate)

    sample = commands.add_parser("sample", help="draw samples from a trained run or checkpoint")
    sample.add_argument("run_dir", type=Path, metavar="RUN")
    sample.add_argument("-n", type=int, default=64, help="number of samples (64)")
    sample.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("samples.png"),
        help="a .png grid, a .npy array or a .csv table",
    )
    sample.add_argument("--temperature", type=float, default=1.0)
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--device", default="cpu")
    sample.set_defaults(run=run.sample)

    sync = commands.add_parser("sync", help="upload offline runs to W&B")
    sync.add_argument("paths", nargs="*", type=Path, metavar="RUNS", help="directories that hold runs (runs)")
    sync.set_defaults(run=run.sync)

    workspace = commands.add_parser(
        "workspace", help="save a W&B workspace: families, quality against cost, samples, curves"
    )
    workspace.add_argument("project", metavar="PROJECT", help="name of the project at W&B")
    workspace.add_argument("--entity", metavar="NAME", help="user or team (your default one)")
    workspace.add_argument(
        "--quality", action="append", metavar="METRIC", help="plot it against costs (bits_per_dim, nll, ...)"
    )
    workspace.add_argument("--dry-run", action="store_true", help="print the specification; send nothing")
    workspace.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the specification there")
    workspace.set_defaults(run=run.workspace)

    doctor = commands.add_parser(
        "doctor", help="show this machine's devices, data, weights, W&B mode and versions"
    )
    doctor.add_argument("--root", type=Path, metavar="DIR", help="data root to look in")
    doctor.set_defaults(run=run.doctor)
    return parser
