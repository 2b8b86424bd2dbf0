"""A hook of mkdocs that adds what the documentation shows or links from results/ to the site."""

from __future__ import annotations

from typing import Any

from mkdocs.structure.files import File, InclusionLevel

PAPERS = ("maf_table1", "maf_table2_mnist", "svae_table1", "tong_table2", "made_table_uci", "mnist_static")
ADDED = {  # relative to the root of the repository, and in the site
    "results/claims/index.html": "claims-page.html",
    "results/benchmarks/peers/figure.svg": "speed-of-peers.svg",
    "results/benchmarks/peers/growth.svg": "growth.svg",
} | {f"results/papers/{table}/index.html": f"papers/{table}.html" for table in PAPERS}


def on_files(files: Any, config: Any) -> Any:
    """Return the site's files with these added, so that links to them in the documentation work."""
    for place, name in ADDED.items():
        # mkdocs leaves a path that begins with a dot out, if it is not told to include it
        settings = {"use_directory_urls": False, "dest_uri": name, "inclusion": InclusionLevel.INCLUDED}
        files.append(File(f"../{place}", config.docs_dir, config.site_dir, **settings))
    return files
