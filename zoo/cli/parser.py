"""The command line of every command but ``zoo train``, whose arguments are Hydra's."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import commands as run
from zoo.cli import units


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
    sweep.add_argument("--again", action="store_true", help="make every run anew, those that are done too")
    sweep.add_argument("-o", "--out", type=Path, metavar="DIR", help="directory of the runs (runs/NAME)")
    sweep.set_defaults(run=run.sweep)

    compare = commands.add_parser("compare", help="turn records into tables, figures and one HTML page")
    compare.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    compare.add_argument("-o", "--out", type=Path, metavar="DIR", help="write table, figures and page there")
    compare.add_argument(
        "--archive", action="store_true", help="also copy records, curves and samples into DIR/records"
    )
    printed = compare.add_argument_group("what is printed (files have everything)")
    printed.add_argument("--data", metavar="NAME", help="one data set")
    printed.add_argument("--columns", metavar="A,B", help="these columns, such as bits/dim,fd,latency")
    printed.add_argument("--sort", metavar="COLUMN", help="best first, each kind of likelihood by itself")
    printed.add_argument("--format", choices=("md", "latex", "csv", "json"), help="instead of a table")
    compare.set_defaults(run=run.compare)

    watch = commands.add_parser(
        "watch", help="the page of zoo compare while the runs are made, for this machine alone"
    )
    watch.add_argument("root", type=Path, metavar="DIR", help="directory of a sweep or of runs")
    watch.add_argument("--port", type=int, default=0, metavar="N", help="port (any that is free)")
    watch.set_defaults(run=run.watch)

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
    reproduce.add_argument("-o", "--out", type=Path, metavar="DIR", help="write table, page and figure there")
    reproduce.add_argument(
        "--archive", action="store_true", help="also copy the records into the output directory"
    )
    reproduce.set_defaults(run=run.reproduce)

    recommend = commands.add_parser(
        "recommend",
        help="which configuration to use under given constraints, and why not the others",
        description="Which of the measured configurations fulfil the constraints, how sure their order is, "
        "and what would change it. Nothing is extrapolated: what was not measured is listed with the sweep "
        "that measures it.",
    )
    recommend.add_argument(
        "paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs"
    )
    limits = recommend.add_argument_group("constraints")
    limits.add_argument(
        "--likelihood", choices=("any", "estimate", "bound", "exact"), default="any",
        help="the least kind of likelihood",
    )  # fmt: skip
    limits.add_argument(
        "--latency", type=units.duration, metavar="TIME", help="of one sample, at most (10ms)"
    )
    limits.add_argument("--throughput", type=units.count, metavar="N", help="samples a second, at least (1k)")
    limits.add_argument("--training", type=units.duration, metavar="TIME", help="device time, at most (2h)")
    limits.add_argument("--memory", type=units.memory, metavar="SIZE", help="of training, at most (4GB)")
    limits.add_argument("--parameters", type=units.count, metavar="N", help="at most (2M)")
    limits.add_argument("--lost", type=float, metavar="SHARE", help="runs that did not finish, at most (0.1)")
    limits.add_argument("--invertible", action="store_true", help="latents with a measured inverse")
    limits.add_argument("--conditional", action="store_true", help="conditioned on labels")
    which = recommend.add_argument_group("data")
    which.add_argument("--data", metavar="NAME", help="data set (the one with most runs)")
    which.add_argument(
        "--dimension", type=int, metavar="D", help="or the measured data nearest to D dimensions"
    )
    weights = recommend.add_argument_group("weights of what decides")
    weights.add_argument("--fidelity", type=float, default=1.0, metavar="W", help="distance to the data (1)")
    weights.add_argument("--coverage", type=float, default=0.0, metavar="W", help="recall of the data (0)")
    weights.add_argument(
        "--density", type=float, default=0.0, metavar="W", help="likelihood, of one kind (0)"
    )
    recommend.add_argument("--all", action="store_true", help="list every configuration that is out")
    recommend.add_argument("--json", action="store_true", help="print the answer as JSON")
    recommend.set_defaults(run=run.recommend)

    figure = commands.add_parser("figure", help="draw one figure of records for a paper, as PDF, SVG or PNG")
    figure.add_argument(
        "kind", metavar="KIND",
        choices=("slide", "pareto", "samples", "curves", "speed", "densities", "tuning", "claims"),
        help="slide, pareto, samples, curves, speed, densities, tuning or claims",
    )  # fmt: skip
    figure.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    figure.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FILE", help="a .pdf, .svg or .png file"
    )
    figure.add_argument("--width", choices=("column", "page"), default="column", help="3.25 or 6.75 inches")
    figure.add_argument("--data", metavar="NAME", help="data set to show (the one with most runs)")
    figure.set_defaults(run=run.figure)

    show = commands.add_parser("show", help="one run on the terminal: its numbers, curves and samples")
    show.add_argument("run_dir", type=Path, metavar="RUN")
    show.set_defaults(run=run.show)

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

    timed = commands.add_parser(
        "time",
        help="time finished runs anew, in turns, on an idle machine",
        description="Time finished runs in turns, in shuffled order, with a canary beside each call, and "
        "write timing.json beside each record; comparisons and claims then use these times alone.",
    )
    timed.add_argument("paths", nargs="+", type=Path, metavar="RUNS", help="directories that hold runs")
    timed.add_argument("--rounds", type=int, default=10, metavar="N", help="turns of each run (10)")
    timed.add_argument(
        "--batch", type=int, nargs="+", default=[1, 16, 256], metavar="N", help="batch sizes (1 16 256)"
    )
    timed.add_argument("--device", default="cpu", help="device to sample on (cpu)")
    timed.add_argument("--seed", type=int, default=0, help="of the order of the turns (0)")
    timed.add_argument(
        "--limit", type=units.duration, default=60.0, metavar="TIME",
        help="longest call, beyond which a run has no larger batches (60s)",
    )  # fmt: skip
    timed.set_defaults(run=run.time)

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
