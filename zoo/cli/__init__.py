"""The commands. Each is a thin door to the room that does the work; nothing heavy is imported up here."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from zoo.errors import CUT_OFF, CutOff, ZooError, cut_off
from zoo.processes import exit_with_parent, stop_on_signals

TRAIN = "train a model, evaluate it by the protocol, write its record (any Hydra override; -m for several)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for a mistake that the user can mend, 1 for ours.

    130 and 75 are for what was interrupted or cut off (memory, disk) and the same command resumes.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("HYDRA_FULL_ERROR") == "1"
    arguments = [_at_home(a) for a in arguments if a != "--debug"]
    try:
        if arguments[:1] == ["train"]:  # all that follows is Hydra's grammar
            exit_with_parent()
            stop_on_signals()
            from zoo.cli.train import main as train

            return train(arguments[1:])
        return _dispatch(arguments)
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on from where it stopped.")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, CutOff):
            _say(str(error))
            return CUT_OFF
        if isinstance(error, ZooError):
            _say(str(error))
            return 2
        reason = cut_off(error)
        if reason is not None:
            _say(f"{reason} The same command goes on from where it stopped.")
            return CUT_OFF
        _say(f"{type(error).__name__}: {error} (--debug shows where)")
        return 1


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # the disk that is full may be the one that the log is on
        print(f"zoo: {sentence}", file=sys.stderr)


def _at_home(argument: str) -> str:
    """``key=~/folder`` with the home folder in place of ``~``: no shell does that within a word."""
    key, equals, value = argument.partition("=")
    return f"{key}={os.path.expanduser(value)}" if equals and value.startswith("~/") else argument


def _dispatch(arguments: list[str]) -> int:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(options, "overrides") or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # overrides may stand after the flags too
        options.overrides += rest
    return int(options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoo",
        description="Every family of generative model, trained by its own rule and judged by one.",
        epilog="--debug anywhere shows tracebacks.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.add_parser("train", help=TRAIN, add_help=False)

    sweep = commands.add_parser(
        "sweep", help="run sweeps/NAME.yaml: skips what has finished, resumes the rest"
    )
    sweep.add_argument(
        "name", metavar="NAME", help="a shipped sweep, ./sweeps/NAME.yaml, or a path to a .yaml"
    )
    sweep.add_argument("overrides", nargs="*", help="Hydra overrides for every job")
    sweep.add_argument("--jobs", type=int, metavar="N", help="jobs at a time")
    sweep.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    sweep.add_argument("--retry-failed", action="store_true", help="run failed jobs again")
    sweep.add_argument("-o", "--out", type=Path, metavar="DIR", help="where the runs go (runs/NAME)")
    sweep.set_defaults(run=_sweep)

    compare = commands.add_parser("compare", help="records -> tables, figures, one HTML page")
    compare.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    compare.add_argument("-o", "--out", type=Path, metavar="DIR", help="write table, figures and page there")
    compare.add_argument(
        "--archive", action="store_true", help="also copy records, curves and samples into DIR/records"
    )
    compare.set_defaults(run=_compare)

    claims = commands.add_parser(
        "claims", help="the lecture's sentences, each with its measurement and verdict"
    )
    claims.add_argument("paths", nargs="+", type=Path, metavar="RESULTS", help="directories that hold runs")
    claims.add_argument("-o", "--out", type=Path, metavar="DIR", help="write page, table and figures there")
    claims.set_defaults(run=_claims)

    evaluate = commands.add_parser(
        "evaluate",
        help="judge a finished run again by the present protocol",
        description="Judge a finished run again by the present protocol, with the evaluation's settings that "
        "its record holds and the overrides given here, which the record then keeps.",
    )
    evaluate.add_argument("run_dir", type=Path, metavar="RUN")
    evaluate.add_argument(
        "overrides", nargs="*", metavar="evaluation.KEY=VALUE", help="such as evaluation.samples=5000"
    )
    evaluate.set_defaults(run=_evaluate)

    sample = commands.add_parser("sample", help="draw from a trained run or checkpoint")
    sample.add_argument("run_dir", type=Path, metavar="RUN")
    sample.add_argument("-n", type=int, default=64, help="how many (64)")
    sample.add_argument(
        "-o", "--out", type=Path, default=Path("samples.png"), help=".png grid, or .npy array"
    )
    sample.add_argument("--temperature", type=float, default=1.0)
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--device", default="cpu")
    sample.set_defaults(run=_sample)

    sync = commands.add_parser("sync", help="upload to W&B what offline runs have kept for it")
    sync.add_argument("paths", nargs="*", type=Path, metavar="RUNS", help="directories that hold runs (runs)")
    sync.set_defaults(run=_sync)

    workspace = commands.add_parser(
        "workspace", help="a W&B workspace of a project: families, cost against quality, samples, curves"
    )
    workspace.add_argument("project", metavar="PROJECT", help="at W&B")
    workspace.add_argument("--entity", metavar="NAME", help="user or team; your default one if not given")
    workspace.add_argument(
        "--quality", action="append", metavar="METRIC", help="set against costs (bits_per_dim, nll, ...)"
    )
    workspace.add_argument("--dry-run", action="store_true", help="print the specification; send nothing")
    workspace.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the specification there")
    workspace.set_defaults(run=_workspace)

    doctor = commands.add_parser(
        "doctor", help="what this machine has: devices, data, weights, W&B, versions"
    )
    doctor.add_argument("--root", type=Path, metavar="DIR", help="data root to look in")
    doctor.set_defaults(run=_doctor)
    return parser


def _sweep(options: argparse.Namespace) -> int:
    from zoo.comparison import compare
    from zoo.record import RECORD
    from zoo.sweep import run_sweep

    root, jobs = run_sweep(
        options.name,
        options.overrides,
        out=options.out,
        parallel=options.jobs,
        dry_run=options.dry_run,
        retry_failed=options.retry_failed,
    )
    if options.dry_run:
        return 0
    # only the jobs of this plan: the directory may hold runs of an earlier version of the sweep
    ended = [job.directory for job in jobs if (job.directory / RECORD).exists()]
    if ended:
        compare(ended, root / "comparison")
    return 2 if any(job.state != "finished" for job in jobs) else 0


def _compare(options: argparse.Namespace) -> int:
    from zoo.comparison import compare

    if options.archive and options.out is None:
        raise ZooError("--archive copies the records into the output directory; name it with -o DIR.")
    return compare(options.paths, options.out, archive=options.archive)


def _claims(options: argparse.Namespace) -> int:
    from zoo.comparison.claims import claims

    return claims(options.paths, options.out)


def _evaluate(options: argparse.Namespace) -> int:
    from zoo.cli.train import report
    from zoo.running.judge import reevaluate

    report(reevaluate(options.run_dir, options.overrides), options.run_dir)
    return 0


def _sample(options: argparse.Namespace) -> int:
    from zoo.cli.train import sample

    return sample(options.run_dir, options.n, options.out, options.temperature, options.seed, options.device)


def _sync(options: argparse.Namespace) -> int:
    from zoo.tracking.sync import sync_runs

    return sync_runs(options.paths)


def _workspace(options: argparse.Namespace) -> int:
    from zoo.tracking.workspace import QUALITIES, save_workspace

    qualities = options.quality or QUALITIES
    return save_workspace(options.project, options.entity, qualities, options.dry_run, options.out)


def _doctor(options: argparse.Namespace) -> int:
    from zoo.cli.doctor import check_machine

    return check_machine(options.root)


if __name__ == "__main__":
    sys.exit(main())
