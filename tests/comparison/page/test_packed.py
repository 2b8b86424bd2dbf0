"""The page says what it cannot unpack and shows the rest, and its table waits for no library."""

from __future__ import annotations

import base64
import gzip
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import Browser, Tab

ROWS = "document.querySelectorAll('#table-main tr[data-row]').length"
LIBRARY = '<script type="application/json" id="library">'


def block(text: str, name: str) -> re.Match[str]:
    """Return the match of a script element that holds packed data; group 1 is the data, in base64."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text)
    assert found is not None
    return found


def changed(page: Path, folder: Path, name: str, packed: str | None = None) -> Path:
    """Return a copy of a page with another block, by default with its own less some letters in the middle."""
    text = page.read_text(encoding="utf-8")
    found = block(text, name)
    middle = (found.start(1) + found.end(1)) // 2
    cut = text[found.start(1) : middle] + text[middle + 40 : found.end(1)]
    file = folder / "changed.html"
    file.write_text(text[: found.start(1)] + (packed or cut) + text[found.end(1) :], encoding="utf-8")
    return file


def has_a_table_and_a_sentence_for_each_chart(tab: Tab) -> None:
    tab.evaluate("document.querySelector('#tradeoff').scrollIntoView()")
    tab.wait("document.querySelector('#tradeoff-chart').textContent.includes('not drawn')")
    (sentence,) = tab.evaluate(
        "[...document.querySelector('#tradeoff-chart').children].map(n => n.textContent)"
    )
    assert re.fullmatch(r"[^.]*drawing library[^.]*damaged[^.]*\.", sentence), "one sentence, with the cause"
    assert "SVG" not in tab.evaluate("document.querySelector('#tradeoff').textContent"), (
        "no button for no chart"
    )
    tab.evaluate("zoo.set({query: 'maf'})")
    assert tab.evaluate("zoo.visible().every(row => row.name.includes('maf'))")
    assert tab.evaluate(ROWS) == tab.evaluate("zoo.visible().length") > 0
    assert tab.evaluate("document.querySelectorAll('main > .warnbox').length") == 0


def test_the_browser_runs_the_library_that_is_packed_in_the_page(browser: Browser, page: Path) -> None:
    version = re.search(r" v([\d.]+)\n", gzip.decompress(library_of(page)).decode())
    assert version is not None
    tab = browser.open(page)
    assert tab.evaluate("Plotly.version") == version[1]
    tab.close()


def library_of(page: Path) -> bytes:
    return base64.b64decode(block(page.read_text(encoding="utf-8"), "library")[1])


def test_a_damaged_library_costs_the_charts_alone(browser: Browser, page: Path, tmp_path: Path) -> None:
    tab = browser.open(changed(page, tmp_path, "library"))
    has_a_table_and_a_sentence_for_each_chart(tab)
    assert tab.complaints == []
    tab.close()


def test_a_page_that_was_cut_off_has_its_table(browser: Browser, page: Path, tmp_path: Path) -> None:
    file = tmp_path / "cut.html"
    file.write_text(page.read_text(encoding="utf-8").partition(LIBRARY)[0], encoding="utf-8")
    tab = browser.open(file)
    has_a_table_and_a_sentence_for_each_chart(tab)
    tab.close()


def test_a_library_that_is_not_the_vendored_one_does_not_run(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    other = base64.b64encode(gzip.compress(b"window.hit = 1; window.Plotly = {};", mtime=0)).decode()
    tab = browser.open(changed(page, tmp_path, "library", other))
    has_a_table_and_a_sentence_for_each_chart(tab)
    assert tab.evaluate("window.hit") is None
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)
    tab.close()


@pytest.mark.parametrize("name", ["data", "series", "pixels", "a browser without DecompressionStream"])
def test_where_the_numbers_cannot_be_unpacked_the_plain_tables_stand_below_one_sentence(
    browser: Browser, page: Path, tmp_path: Path, name: str
) -> None:
    tab = browser.open("about:blank")
    if " " in name:
        script = {"source": "delete window.DecompressionStream"}
        tab.call("Page.addScriptToEvaluateOnNewDocument", script)
    tab.go(page if " " in name else changed(page, tmp_path, name))
    shown = "[...document.querySelectorAll('main > :not(noscript)')].filter(node => node.offsetHeight)"
    assert tab.evaluate(f"{shown}.filter(node => node.matches('section')).length") == 0
    (sentence,) = tab.evaluate(f"{shown}.filter(node => node.matches('.warnbox')).map(n => n.textContent)")
    assert "too old to unpack" in sentence
    tab.resize(420)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 420, "a wide table scrolls in its box"
    assert tab.evaluate(
        "[...document.querySelectorAll('main > .scroll')].some(n => n.scrollWidth > n.clientWidth)"
    )
    assert tab.evaluate(
        f"{shown}.some(node => node.querySelector('table')?.textContent.includes('pixelcnn'))"
    )
    assert tab.evaluate("document.querySelectorAll('img').length + Number(Boolean(window.hit))") == 0
    assert tab.complaints == []
    tab.close()


class Slow:
    """A server that sends a page up to the packed library, and the rest when it is told to."""

    def __init__(self, page: Path) -> None:
        first, library, rest = page.read_text(encoding="utf-8").partition(LIBRARY)
        self.go_on = go_on = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(first.encode())
                self.wfile.flush()
                go_on.wait(60)
                self.wfile.write((library + rest).encode())

            def log_message(self, format: str, *values: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def slow(page: Path) -> Iterator[Slow]:
    """Yield a server that holds the drawing library back until the test lets it go."""
    made = Slow(page)
    yield made
    made.go_on.set()
    made.server.shutdown()
    made.server.server_close()


def test_the_table_is_there_before_the_library_and_charts_wait_for_it(browser: Browser, slow: Slow) -> None:
    tab = browser.open("about:blank")
    tab.call("Page.navigate", {"url": slow.address})
    tab.wait(f"{ROWS} > 0")
    assert tab.evaluate("[document.readyState, typeof Plotly]") == ["loading", "undefined"]
    slow.go_on.set()
    tab.wait("Boolean(window.Plotly)")
    tab.evaluate("zooReady.then(() => true)")
    tab.show("tradeoff")
    assert tab.evaluate("Boolean(document.querySelector('#tradeoff-chart .main-svg'))")
    tab.close()
