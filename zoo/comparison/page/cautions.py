"""What to know before numbers of a comparison are compared: load, devices and protocols that mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.comparison.page.payload import settings_of
from zoo.comparison.page.reproduce import departure
from zoo.comparison.words import setting_text

SHOWN = 4  # settings that a sentence names


def cautions(runs: Sequence[Run]) -> list[str]:
    """Return the cautions that apply: load while timing, several devices or protocols, an older zoo.

    Each is a sentence.
    """
    found = (_loads(runs), _devices(runs), _protocols(runs), _older(runs))
    return [sentence for sentence in found if sentence]


def _older(runs: Sequence[Run]) -> str:
    """Return a sentence on how many runs an older zoo has made, whose commands now make other runs."""
    departed = sum(bool(departure(run)) for run in runs)
    if not departed:
        return ""
    all_of = f"All {departed:,}" if departed == len(runs) else f"{departed:,} of {len(runs):,}"
    return (
        f"{all_of} runs were made by an older zoo: their commands train today's configuration, which has "
        "another hash. The sheet of a number says what has changed, and names the commit that makes it."
    )


def _loads(runs: Sequence[Run]) -> str:
    """Return how many runs were timed while more processes wanted a core than there are."""
    recorded = [load for run in runs if (load := run.record.sampling.load) is not None]
    loads = [(load.before, load.cores) for load in recorded if load.before is not None]
    busy = [(before, cores) for before, cores in loads if before > cores]
    if not busy:
        return ""
    low, high = min(before for before, _ in busy), max(before for before, _ in busy)
    cores = " or ".join(map(str, sorted({cores for _, cores in busy})))
    return (
        f"{len(busy):,} of {len(loads):,} runs with a recorded load were timed on a busy machine (load "
        f"{low:.0f} to {high:.0f} on {cores} cores): their times may be too long by a factor."
    )


def _devices(runs: Sequence[Run]) -> str:
    devices = Counter(device for run in runs if (device := run.record.sampling.device))
    if len(devices) < 2:
        return ""
    counts = ", ".join(f"{name} {n:,} run{'s' * (n != 1)}" for name, n in devices.most_common())
    return f"Speeds are of several devices ({counts}): compare them within one alone."


def _protocols(runs: Sequence[Run]) -> str:
    """Return in which settings the protocols differ, the first few with their values."""
    known = {
        run.record.provenance.protocol_hash: protocol
        for run in runs
        if run.record.provenance.protocol_hash and (protocol := run.record.provenance.protocol) is not None
    }
    if len(known) < 2:
        return ""
    flat = [settings_of(one.settings) | {"version": str(one.version)} for one in known.values()]
    names = sorted({name for one in flat for name in one})
    values = {name: sorted({one.get(name, "unset") for one in flat}) for name in names}
    differ = [
        " or ".join(setting_text(name, value) for value in found)
        for name, found in values.items()
        if len(found) > 1
    ]
    more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
    words = "; ".join(differ[:SHOWN]) + more or "nothing that the records hold"
    return (
        f"{len(known)} protocols judged these runs, and values of two never compare; they differ in: {words}."
    )
