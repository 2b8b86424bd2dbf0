"""``zoo reproduce``: a paper's table, run and reported."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

import numpy as np
from rich.console import Console

from zoo.config.overrides import split
from zoo.errors import ZooError
from zoo.reproduction.check import Splits
from zoo.reproduction.schema import Table


def reproduce(options: Namespace) -> int:
    """Run a table's missing cells and print it; return 2 if a run did not finish or data are not here."""
    from zoo.comparison import compare
    from zoo.record import RECORD
    from zoo.reproduction import load, report, run_table
    from zoo.reproduction.published import published_values
    from zoo.reproduction.render import write
    from zoo.reproduction.reproduce import seconds
    from zoo.reproduction.runs import RUNS
    from zoo.reproduction.terminal import print_report

    check_options(options)
    console = Console()
    if options.table == "list":
        from zoo.reproduction.overview import overview, print_overview

        lines = overview()
        print_overview(lines, console)
        if options.out is not None:
            from zoo.reproduction.overview_files import write_overview

            write_overview(lines, options.out)
        return 0
    table = load(options.table)
    cells = table.select(options.only)
    if options.check_data:
        return print_fingerprints(table, options, console)
    budget = None if options.budget is None else seconds(options.budget)
    if not options.report_only:
        check_accelerator(options.overrides)
    left: list[str] = []
    if not options.report_only:
        from zoo.sweep.check import check_jobs

        left = run_table(
            table,
            cells,
            read_splits,
            named=options.only is not None,
            seeds=options.seeds,
            budget=budget,
            jobs=options.jobs,
            retry_failed=options.retry_failed,
            extra=options.overrides,
            runs=options.runs,
            console=console,
            check=check_jobs,
        )
    outcome = report(table, cells, options.runs)
    runs = options.runs or RUNS / table.name
    if not options.report_only and any(runs.glob(f"*/{RECORD}")):
        compare([runs], runs / "comparison", console=Console(quiet=True), published=published_values)
    print_report(outcome, console)
    out = options.out or runs / "report"
    if options.out is not None or any(result.ours is not None for result in outcome.results):
        write(outcome, out, options.archive)
        console.print(f"files:   {out}", markup=False, soft_wrap=True, highlight=False)
    if (runs / "comparison" / "index.html").exists():
        page = runs / "comparison" / "index.html"
        console.print(f"runs:    {page}", markup=False, soft_wrap=True, highlight=False)
    return 2 if left or any(result.status == "failed" for result in outcome.results) else 0


def check_accelerator(overrides: Sequence[str]) -> None:
    """Check that there is an accelerator if runs on this machine ask for one.

    Raises:
        ZooError: there is none.
    """
    import torch

    from zoo.reproduction.reproduce import accelerated

    chosen = dict(map(split, overrides))
    if accelerated(overrides) and "launcher" not in chosen and not torch.accelerator.is_available():
        raise ZooError(
            f"trainer={chosen['trainer']} needs an accelerator and this machine has none; give the command "
            "on a machine that has one, or add launcher=slurm."
        )


def print_fingerprints(table: Table, options: Namespace, console: Console) -> int:
    """Print a table's fits in closed form on this machine's data; return 2 if some data are not here.

    Raises:
        ZooError: the table has none, or a fit does not give its value.
    """
    from zoo.reproduction.check import Mismatch, check_data, settings
    from zoo.reproduction.runs import RUNS, data_places

    if not table.closed_forms:
        raise ZooError(f"{table.name} has no fit in closed form, so its data have no fingerprint to check.")
    place, code = data_places(options.overrides), 0
    for key, form in table.closed_forms.items():
        folder = options.runs or RUNS / table.name
        try:
            fit = check_data(table, [key], lambda data: read_splits([*data, *place]), folder)[key]
        except Mismatch:
            raise
        except ZooError as error:
            console.print(f"{key}: {error}", markup=False, highlight=False, soft_wrap=True)
            code = 2
            continue
        spread = f" ± {fit.standard_error:.3g}" if fit.standard_error else ""
        console.print(
            f"{key} on {' '.join(settings(form))}: {fit.value:.6g}{spread}, expected {form.value:.6g}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    return code


def read_splits(overrides: list[str]) -> Splits:
    """Return a data set's training and test examples as arrays of rows."""
    from zoo.config import compose_run, to_dict
    from zoo.running.data import prepare_data

    data = prepare_data(to_dict(compose_run(overrides).data))
    kind = np.float64 if data.spec.levels is None else np.uint8
    train, test = (data.splits[split].flatten(1).numpy().astype(kind) for split in ("train", "test"))
    labels = data.labels.get("train")
    return Splits(train, test, None if labels is None else labels.numpy())


def check_options(options: Namespace) -> None:
    """Check that the options go together.

    Raises:
        ZooError: two of them contradict each other, or one names a directory that is not there.
    """
    if options.jobs is not None and options.jobs < 1:
        raise ZooError(f"--jobs is how many run at a time, at least 1; got {options.jobs}.")
    if options.archive and options.out is None:
        raise ZooError("--archive packs the records into the output directory; name it with -o DIR.")
    given = {
        "--only": options.only, "--seeds": options.seeds, "--budget": options.budget, "--jobs": options.jobs,
        "--retry-failed": options.retry_failed, "--report-only": options.report_only,
        "--check-data": options.check_data, "--runs": options.runs, "-o": options.out,
        "--archive": options.archive, "overrides": options.overrides,
    }  # fmt: skip
    used = [name for name, value in given.items() if value]
    if options.table == "list":
        _allow(used, ("-o",), "list shows all tables and runs nothing")
    if options.check_data and options.report_only:
        raise ZooError("--check-data computes and --report-only does not; give one of them.")
    if options.check_data:
        _allow(used, ("--check-data", "--runs", "overrides"), "--check-data trains nothing")
    if options.report_only:
        allowed = ("--report-only", "--only", "--runs", "-o", "--archive")
        _allow(used, allowed, "--report-only runs nothing")
        if options.runs is not None and not options.runs.is_dir():
            raise ZooError(f"There is no directory {options.runs}; --runs names the one that holds the runs.")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)  # fails here, not after the runs


def _allow(used: list[str], allowed: tuple[str, ...], why: str) -> None:
    """Check that no other options are used than those allowed.

    Raises:
        ZooError: one is.
    """
    more = [name for name in used if name not in allowed]
    if more:
        raise ZooError(f"{why}; leave out {', '.join(more)}.")
