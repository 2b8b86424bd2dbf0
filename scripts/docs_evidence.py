"""A hook of mkdocs: the site holds the page of the claims' records, to which cells of the slide lead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

PAGE = "results/claims/index.html"  # below the repository


def on_files(files: Any, config: Any) -> Any:
    """Return the site's files with the page, where links of the documentation name it."""
    page = File.generated(config, f"../{PAGE}", abs_src_path=str(Path(config.config_file_path).parent / PAGE))
    page.dest_uri = "claims-page.html"
    files.append(page)
    return files
