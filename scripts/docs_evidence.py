"""A hook of mkdocs that adds the HTML page of the claims' records, to which the slide links, to the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

PAGE = "results/claims/index.html"  # relative to the root of the repository


def on_files(files: Any, config: Any) -> Any:
    """Return the site's files with the page added, so that links to it in the documentation work."""
    page = File.generated(config, f"../{PAGE}", abs_src_path=str(Path(config.config_file_path).parent / PAGE))
    page.dest_uri = "claims-page.html"
    files.append(page)
    return files
