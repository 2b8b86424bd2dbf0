"""The functions that the commands call. Each imports what it needs and returns an exit code."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.comparison.collect import Run
    from zoo.comparison.page.runs import Published


def _published(runs: Sequence[Run]) -> Mapping[str, Sequence[Published]]:
    from zoo.reproduction.published import published_values

    return published_values(runs)


def sweep(options: Namespace) -> int:
    from zoo.comparison import compare
    from zoo.record import RECORD, SOUND
    from zoo.sweep import run_sweep
    from zoo.sweep.check import check_jobs

    root, jobs = run_sweep(
        options.name,
        options.overrides,
        out=options.out,
        parallel=options.jobs,
        dry_run=options.dry_run,
        submit=options.submit,
        mps=options.mps,
        retry_failed=options.retry_failed,
        again=options.again,
        check=check_jobs,
    )
    if options.dry_run or options.submit:
        return 0
    # Only the jobs of this plan: the directory may hold runs of an earlier version of the sweep.
    ended = [job.directory for job in jobs if (job.directory / RECORD).exists()]
    if ended:
        compare(ended, root / "comparison", published=_published)
    return 2 if any(job.state not in SOUND for job in jobs) else 0


def compare(options: Namespace) -> int:
    from zoo.comparison import View, compare
    from zoo.comparison.packed import ENDINGS, compression

    if options.archive and options.out is None:
        raise ZooError("--archive copies the records into the output directory; name it with -o DIR.")
    if options.pack and compression(options.pack) is None:
        raise ZooError(f"--pack writes a file that ends in {', '.join(ENDINGS)}; got {options.pack}.")
    columns = tuple(name.strip() for name in (options.columns or "").split(",") if name.strip())
    view = View(options.data, columns, options.sort)
    return compare(
        options.paths,
        options.out,
        archive=options.archive,
        pack=options.pack,
        view=view,
        form=options.format,
        published=_published,
    )


def watch(options: Namespace) -> int:
    from zoo.comparison.watch import watch

    return watch(options.root, options.port, published=_published)


def claims(options: Namespace) -> int:
    from zoo.comparison.commands import claims

    return claims(options.paths, options.out)


def reproduce(options: Namespace) -> int:
    from zoo.cli.reproduce import reproduce

    return reproduce(options)


def recommend(options: Namespace) -> int:
    from zoo.cli.recommend import print_recommendation
    from zoo.config.declared import data_kinds

    return print_recommendation(options, data_kinds())


def figure(options: Namespace) -> int:
    from zoo.cli.figure import draw

    return draw(options)


def show(options: Namespace) -> int:
    from zoo.cli.show import show_run

    return show_run(options.run_dir, options.name)


def evaluate(options: Namespace) -> int:
    from zoo.cli.report import print_result
    from zoo.running.judge import reevaluate

    print_result(reevaluate(options.run_dir, options.overrides), options.run_dir)
    return 0


def time(options: Namespace) -> int:
    from zoo.cli.timing import print_times
    from zoo.running.retime import time_runs

    results = time_runs(
        options.paths,
        rounds=options.rounds,
        batches=options.batch,
        device=options.device,
        seed=options.seed,
        limit=options.limit,
    )
    print_times(results)
    return 0


def sample(options: Namespace) -> int:
    from zoo.cli.sample import write_samples

    write_samples(options.run_dir, options.n, options.out, options.temperature, options.seed, options.device)
    return 0


def sync(options: Namespace) -> int:
    from zoo.tracking.sync import sync_runs

    return sync_runs(options.paths)


def workspace(options: Namespace) -> int:
    from zoo.tracking.workspace import QUALITIES, save_workspace

    qualities = options.quality or QUALITIES
    return save_workspace(options.project, options.entity, qualities, options.dry_run, options.out)


def doctor(options: Namespace) -> int:
    from zoo.cli.doctor import check_machine

    return check_machine(options.root)
