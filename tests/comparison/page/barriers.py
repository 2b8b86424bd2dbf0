"""Barriers for readers with other senses or hands, as axe finds them in an open page."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from browser import Tab

AXE = Path(__file__).parent / "vendor" / "axe.min.js.gz"


def violations(tab: Tab) -> list[Any]:
    """Return the rules that the page breaks as it is shown, each with some of the elements."""
    tab.call("Page.setBypassCSP", {"enabled": True})
    tab.evaluate(gzip.decompress(AXE.read_bytes()).decode() + "\n;true")
    found = tab.evaluate(
        "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.slice(0, 3).map(n => n.html)]))"
    )
    return list(found)
