"""Pack the JavaScript libraries of ``scripts/vendor.json`` again: ``make vendor`` (needs npm).

Each package is downloaded by ``npm pack`` and held against the integrity of the list. Of it one file is kept,
under gzip with the same bytes each time, and its licence; ``vendored.json`` beside them has package, version,
licence and the SHA-256 of the file. To take another version, change the list.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = Path(__file__).with_name("vendor.json")


def download(package: str, version: str, integrity: str) -> bytes:
    """Return the archive of a package.

    Raises:
        SystemExit: the archive is not the one of the list.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"{package}@{version}", "--silent", "--pack-destination", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        content = next(Path(folder).glob("*.tgz")).read_bytes()
    algorithm, _, expected = integrity.partition("-")
    if base64.b64encode(hashlib.new(algorithm, content).digest()).decode() != expected:
        sys.exit(f"{package} {version} is not the archive that {PACKAGES.name} names; nothing is changed.")
    return content


def pack(package: dict[str, str]) -> None:
    """Write the file of a package, its licence and ``vendored.json``."""
    archive = download(package["package"], package["version"], package["integrity"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        content, licence = (
            files.extractfile(f"package/{package[name]}").read()  # type: ignore[union-attr]
            for name in ("file", "licence_file")
        )
    folder = ROOT / package["to"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{package['file']}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
    (folder / f"{package['package']}.LICENSE").write_bytes(licence)
    about = {name: package[name] for name in ("package", "version", "licence", "integrity", "file")}
    about["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "vendored.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"{package['package']} {package['version']}: {len(content):,} bytes")


if __name__ == "__main__":
    for entry in json.loads(PACKAGES.read_text(encoding="utf-8")):
        pack(entry)
