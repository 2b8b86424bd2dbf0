"""``zoo watch``: the page of a comparison while its runs are made, served to this machine alone.

:class:`Snapshot` reads what has changed below a directory and numbers each change; a page that holds the
changes up to a cursor is sent those after it. A record that is being written is read at the next look. The
server listens on 127.0.0.1, answers GET alone, and refuses a request whose ``Host`` is another name, so that
no page of another site can read it through a name that leads here.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml
from rich.console import Console

from zoo.comparison import page
from zoo.comparison.claims import decide
from zoo.comparison.collect import Run, collect
from zoo.comparison.commands import compare
from zoo.comparison.page.shorten import Strings
from zoo.errors import ZooError
from zoo.record import CONFIG, CURVES, RECORD, read
from zoo.record.plan import PLAN, read_plan

if TYPE_CHECKING:
    from zoo.comparison.commands import PublishedOf

HOST = "127.0.0.1"
LAST_PORT = 65535
PERIOD = 1.0  # seconds between two looks at the directory
PATIENCE = 15.0  # seconds that a request waits for a change
STALLED = 120.0  # seconds without a new row of curves, at least, after which a job counts as stalled
POINTS = 40  # of a job's curve
SETTLED = 60.0  # seconds without a change after which a record that cannot be read counts as broken
Json = dict[str, Any]


@dataclass
class Job:
    """A run that has no record yet.

    Attributes:
        name: of its directory.
        updates: done so far; ``total``: all of them, None if its configuration does not give the number.
        seconds: in training so far; ``left``: until the end at the same speed.
        state: ``waiting``, ``training``, ``evaluating``, ``stalled`` or ``not finite``; of a record that
            cannot be read (yet) ``being written`` or ``broken record``.
        value: the last value of ``curve``, which the drawing shows.
        points: of that curve.
    """

    name: str
    state: str
    updates: int = 0
    total: int | None = None
    seconds: float | None = None
    left: float | None = None
    curve: str = ""
    value: float | None = None
    points: list[float] | None = None


def job_of(directory: Path, now: float) -> Job:
    """Return how far the run in a directory is."""
    total = _updates(directory)
    job = Job(directory.name, "waiting", total=total)
    try:
        changed = (directory / CURVES).stat().st_mtime
        text = (directory / CURVES).read_text(encoding="utf-8")
    except OSError:
        return job
    lines = text.rpartition("\n")[0].splitlines()  # the last line may be incomplete
    rows = [row for row in csv.DictReader(lines) if _number(row.get("updates")) is not None]
    if not rows:
        return job
    last = rows[-1]
    job.updates, job.seconds = int(float(last["updates"])), _number(last.get("wall_seconds"))
    named = [name for name in last if name and name.startswith("val/")] or ["train/loss"]
    job.curve = next((name for name in named if any(row.get(name) for row in rows)), "train/loss")
    values = [(row, row[job.curve]) for row in rows if row.get(job.curve)]
    points = [value for _, word in values if (value := _number(word)) is not None]
    job.value, job.points = (points[-1] if points else None), points[-POINTS:]
    if total and job.updates and job.seconds is not None:
        job.left = job.seconds * max(0, total - job.updates) / job.updates
    finite = all(_number(word) is not None for name, word in last.items() if name and "/" in name and word)
    pace = (job.seconds or 0.0) / len(rows)
    job.state = "evaluating" if total and job.updates >= total else "training"
    if not finite:
        job.state = "not finite"
    elif job.state == "training" and now - changed > max(STALLED, 5 * pace):
        job.state = "stalled"
    return job


def _updates(directory: Path) -> int | None:
    try:
        config = yaml.safe_load((directory / CONFIG).read_text(encoding="utf-8"))
        updates = config["training"]["updates"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None
    return updates if isinstance(updates, int) else None


def _number(word: str | None) -> float | None:
    try:
        value = float(word or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Unread:
    """A record that cannot be read.

    Attributes:
        stamp: of the file.
        since: when it was first seen so, on the clock that only runs forward.
        sentence: why.
        is_broken: whether it has been so for :data:`SETTLED` seconds.
    """

    stamp: tuple[int, int]
    since: float
    sentence: str
    is_broken: bool


class Snapshot:
    """What a page shows of the runs below a directory, and the number of the change that each part came with.

    Args:
        root: the directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.version = 0
        self.changed = threading.Condition()
        self.strings = Strings()
        self.facts: Json = {"studies": [], "runs": {}, "made": {"runs": 0}, "claims": [], "slides": {}}
        self.curves: list[Json] = []
        self.pixels = b""
        self.jobs: dict[str, Json] = {}
        self.unstarted = 0
        self._runs: dict[str, Run] = {}
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._unread: dict[Path, Unread] = {}
        self._since: dict[str, dict[Any, int]] = {"studies": {}, "runs": {}, "jobs": {}, "rest": {}}

    def look(self) -> bool:
        """Read what has changed, and return whether anything has."""
        with self.changed:
            records = self._look_at_records()
            jobs = self._look_at_jobs()
            plans = self._look_at_plans()
            if records or jobs or plans:
                self.changed.notify_all()
            return records or jobs or plans

    def _look_at_records(self) -> bool:
        stamps = {}
        for path in self.root.rglob(RECORD):
            if "comparison" in path.parts[len(self.root.parts) :]:
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            stamps[path] = (status.st_mtime_ns, status.st_size)
        fresh = [path for path, stamp in stamps.items() if self._stamps.get(path) != stamp]
        found, warnings = list[Run](), list[str]()
        if fresh:
            with contextlib.suppress(ZooError):  # none of them can be read yet
                found, warnings = collect(sorted(path.parent for path in fresh))
        done = {run.directory / RECORD for run in found}
        self._stamps |= {path: stamp for path, stamp in stamps.items() if path in done}
        broken = {path for path, one in self._unread.items() if one.is_broken}
        self._note_unread({path: stamps[path] for path in fresh if path not in done})
        news = {path for path, one in self._unread.items() if one.is_broken} != broken
        if not found and not (news and self._runs):
            return False
        unread = {one.sentence for one in self._unread.values()}
        said = [one.sentence for one in self._unread.values() if one.is_broken]
        self._runs |= {run.record.run_id: run for run in found}
        self._rebuild(
            {run.record.run_id for run in found}, [*(w for w in warnings if w not in unread), *said]
        )
        return True

    def _note_unread(self, stamps: Mapping[Path, tuple[int, int]]) -> None:
        """Note which records cannot be read, and since when: one that is being written is no error."""
        now, noted = time.monotonic(), dict[Path, Unread]()
        for path, stamp in stamps.items():
            try:
                read(path.parent)
            except ZooError as error:
                known = self._unread.get(path)
                since = known.since if known is not None and known.stamp == stamp else now
                noted[path] = Unread(stamp, since, str(error), now - since >= SETTLED)
        self._unread = noted

    def _rebuild(self, fresh: set[str], warnings: Sequence[str]) -> None:
        runs = list(self._runs.values())
        facts, curves, pixels = page.contents(runs, decide(runs), warnings, self.strings)
        self.version += 1
        known = {study["id"]: study for study in self.facts["studies"]}
        for study in facts["studies"]:
            if known.get(study["id"]) != study:
                self._since["studies"][study["id"]] = self.version
        for index, run_id in enumerate(facts["runs"]["id"]):
            if run_id in fresh:
                self._since["runs"][index] = self.version
        for name in ("made", "claims", "slides", "warnings"):
            if self.facts.get(name) != facts[name]:
                self._since["rest"][name] = self.version
        if pixels != self.pixels:
            self._since["rest"]["pixels"] = self.version
        self.facts, self.curves, self.pixels = facts, curves, pixels

    def _look_at_jobs(self) -> bool:
        now, ended = time.time(), {path.parent for path in self._stamps}
        folders = {path.parent for name in (CURVES, CONFIG) for path in self.root.rglob(name)} - ended
        folders = {folder for folder in folders if not (folder / RECORD).exists()}
        found = {folder: job_of(folder, now) for folder in folders}
        for path, one in self._unread.items():
            found[path.parent] = job_of(path.parent, now)
            found[path.parent].state = "broken record" if one.is_broken else "being written"
        jobs = {str(folder.relative_to(self.root)): asdict(found[folder]) for folder in sorted(found)}
        if jobs == self.jobs:
            return False
        self.version += 1
        for name in jobs.keys() | self.jobs.keys():
            if jobs.get(name) != self.jobs.get(name):
                self._since["jobs"][name] = self.version
        self.jobs = jobs
        return True

    def _look_at_plans(self) -> bool:
        begun = {path.parent for path in self._stamps} | {self.root / name for name in self.jobs}
        unstarted = 0
        for folder in {path.parent for path in self.root.rglob(PLAN)}:
            plan = read_plan(folder)
            here = {run.name for run in begun if run.parent == folder}
            unstarted += sum(name not in here for name in plan.runs)
            proposed = plan.size - len(plan.runs)  # by a search, run by run
            unstarted += max(0, proposed - len(here.difference(plan.runs)))
        if unstarted == self.unstarted:
            return False
        self.version += 1
        self.unstarted, self._since["rest"]["unstarted"] = unstarted, self.version
        return True

    def page(self) -> str:
        """Return the whole page as it is now."""
        with self.changed:
            facts = self.facts | {
                "cursor": self.version,
                "jobs": self.jobs,
                "unstarted": self.unstarted,
                "root": str(self.root),
            }
            return page.assembled(f"zoo watch · {self.root.name}", facts, self.curves, self.pixels, live=True)

    def delta(self, cursor: int, patience: float = PATIENCE) -> Json:
        """Return what has changed since ``cursor``; wait for a change, but not longer than ``patience``."""
        with self.changed:
            self.changed.wait_for(lambda: self.version > cursor, patience)
            answer: Json = {"cursor": self.version}
            if self.version <= cursor:
                return answer

            def since(part: str) -> list[Any]:
                return [name for name, version in self._since[part].items() if version > cursor]

            jobs = since("jobs")
            answer["jobs"] = {name: self.jobs.get(name) for name in jobs}
            if studies := since("studies"):
                answer["order"] = [study["id"] for study in self.facts["studies"]]
                answer["studies"] = [study for study in self.facts["studies"] if study["id"] in studies]
                answer["strings"] = list(self.strings)
            if places := since("runs"):
                answer["runs"] = {
                    place: {name: column[place] for name, column in self.facts["runs"].items()}
                    for place in places
                }
                answer["series"] = {place: self.curves[place] for place in places}
            for name in since("rest"):
                pixels = name == "pixels"
                own = self.unstarted if name == "unstarted" else self.facts.get(name)
                answer[name] = base64.b64encode(self.pixels).decode() if pixels else own
            return answer


def handler(snapshot: Snapshot, port: Callable[[], int]) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers requests about a snapshot."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version, protocol_version = "zoo", "", "HTTP/1.1"

        def do_GET(self) -> None:
            if self.headers.get("Host") not in {f"{name}:{port()}" for name in (HOST, "localhost")}:
                self._answer(403, "text/plain", "This server answers to 127.0.0.1 alone.")
                return
            address = urlsplit(self.path)
            if address.path == "/":
                self._answer(200, "text/html", snapshot.page())
            elif address.path == "/delta":
                word = parse_qs(address.query).get("cursor", ["0"])[0]
                cursor = int(word) if word.isdecimal() else 0
                self._answer(200, "application/json", json.dumps(snapshot.delta(cursor), allow_nan=False))
            else:
                self._answer(404, "text/plain", "There is nothing here; the page is at /.")

        def _answer(self, status: int, kind: str, text: str) -> None:
            content = text.encode()
            self.send_response(status)
            headers: Mapping[str, str] = {
                "Content-Type": f"{kind}; charset=utf-8",
                "Content-Length": str(len(content)),
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "no-referrer",
            }
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the terminal free of requests."""

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:  # the page was closed
                self.close_connection = True

    return Handler


class Server:
    """The server of a snapshot, which looks at the directory every second.

    Args:
        root: the directory that is watched.
        port: to listen on; 0: any that is free.

    Raises:
        ZooError: there is no such directory, or the port is taken or none.
    """

    def __init__(self, root: Path, port: int = 0) -> None:
        if not root.is_dir():
            raise ZooError(f"There is no directory {root}; give the directory of a sweep or of runs.")
        if not 0 <= port <= LAST_PORT:
            raise ZooError(f"A port is a number from 1 to {LAST_PORT}, or 0 for a free one; got {port}.")
        self.snapshot = Snapshot(root)
        self._http: ThreadingHTTPServer
        try:
            self._http = ThreadingHTTPServer((HOST, port), handler(self.snapshot, lambda: self.port))
        except OSError as error:
            raise ZooError(
                f"Port {port} cannot be used ({error.strerror}); give another one with --port."
            ) from None
        self._http.daemon_threads = True
        self._stop = threading.Event()
        self.snapshot.look()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._http.server_address[1])

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self.port}/"

    def start(self) -> None:
        """Begin to serve and to look, in threads of their own."""
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self._stop.is_set():
            start = time.monotonic()
            self.snapshot.look()
            self._stop.wait(max(PERIOD, 2 * (time.monotonic() - start)))

    def stop(self) -> None:
        """End the threads."""
        self._stop.set()
        self._http.shutdown()
        self._http.server_close()


def watch(
    root: Path, port: int = 0, console: Console | None = None, published: PublishedOf | None = None
) -> int:
    """Serve the page of the runs below ``root`` until it is interrupted, then write the finished page.

    Returns:
        0.

    Raises:
        ZooError: as :class:`Server`.
    """
    console = console or Console()
    server = Server(root, port)
    server.start()
    try:
        console.print(f"watching {root}: {server.address} (Ctrl-C ends)", markup=False, soft_wrap=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print()
    finally:
        server.stop()
    if not server.snapshot.facts["studies"]:
        console.print("no run has ended, so there is nothing to compare yet")
        return 0
    return compare([root], root / "comparison", console=console, published=published)
