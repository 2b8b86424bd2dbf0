"""``zoo reproduce``: a paper's table, run and reported."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
from rich.console import Console

from zoo.errors import ZooError
from zoo.reproduction.check import Splits


def reproduce(options: Namespace) -> int:
    """Run a table's missing cells and print it; return 2 if a run did not finish or data are not here."""
    from zoo.reproduction import load, report, run_table
    from zoo.reproduction.render import write
    from zoo.reproduction.reproduce import seconds
    from zoo.reproduction.runs import RUNS
    from zoo.reproduction.terminal import print_report

    check_options(options)
    console = Console()
    if options.table == "list":
        from zoo.reproduction.overview import overview, print_overview

        print_overview(overview(), console)
        return 0
    table = load(options.table)
    cells = table.select(options.only)
    budget = None if options.budget is None else seconds(options.budget)
    absent: list[str] = []
    if not options.report_only:
        absent = run_table(
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
        )
    found = report(table, cells, options.runs)
    print_report(found, console)
    out = options.out or (options.runs or RUNS / table.name) / "report"
    if options.out is not None or any(result.ours is not None for result in found.results):
        write(found, out)
        console.print(f"files:   {out}", markup=False, soft_wrap=True, highlight=False)
    return 2 if absent or any(result.status == "failed" for result in found.results) else 0


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
        ZooError: two of them contradict each other.
    """
    if options.report_only and (options.budget or options.jobs or options.seeds or options.overrides):
        raise ZooError("--report-only runs nothing; leave out --budget, --jobs, --seeds and overrides.")
