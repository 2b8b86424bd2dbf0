"""A hook of mkdocs that adds what the documentation shows or links from results/ to the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ADDED = {  # relative to the root of the repository, and in the site
    "results/claims/index.html": "claims-page.html",
    "results/benchmarks/peers/figure.svg": "speed-of-peers.svg",
    "results/benchmarks/peers/growth.svg": "growth.svg",
}


def on_files(files: Any, config: Any) -> Any:
    """Return the site's files with these added, so that links to them in the documentation work."""
    root = Path(config.config_file_path).parent
    for place, name in ADDED.items():
        added = File.generated(config, f"../{place}", abs_src_path=str(root / place))
        added.dest_uri = name
        files.append(added)
    return files
