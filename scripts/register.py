"""Write the hash and the date of every claim's rule into the registry: python scripts/register.py.

Run it after a rule was changed on purpose. A rule whose hash has changed gets the present date, so that
earlier results count as exploratory. Describe the change by hand, under ``changes``.

    python scripts/register.py --same-rules "WHAT CHANGED IN THE CODE"    # but no rule: the dates stay

The sentence is kept with the date under ``rewrites``: whoever doubts that no rule changed knows what to read.
"""

from __future__ import annotations

import argparse
import json
import re
from datetime import UTC, datetime

from zoo.comparison.claims.registry import FILE, rule_hash
from zoo.comparison.claims.sentences import all_claims


def main() -> None:
    """Set the date of every registered claim whose rule has changed, then the hashes of all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--same-rules", metavar="WHAT", help="keep the dates: no rule was changed, but this in the code"
    )
    parser.add_argument("--effect", default="none", help="of that change on what the ledger shows (none)")
    options = parser.parse_args()
    same_rules = options.same_rules is not None
    text, now = FILE.read_text("utf-8"), datetime.now(UTC).isoformat(timespec="seconds")
    if same_rules:
        told = "".join(
            f"    {key}: {json.dumps(value, ensure_ascii=False)}\n"
            for key, value in (("what", options.same_rules), ("effect", options.effect))
        )
        text = text.replace("claims:\n", f'  - date: "{now[:16]}Z"\n{told}claims:\n', 1)
    for claim in all_claims():
        entry = re.search(rf"^  {re.escape(claim.key)}:\n(?:    .*\n)*", text, re.MULTILINE)
        if entry is None:
            continue
        registered = entry.group()
        if not same_rules and f'hash: "{rule_hash(claim.key, claim.find)}"' not in registered:
            registered = re.sub(r'date: "[^"]*"', f'date: "{now}"', registered, count=1)
        text = text.replace(entry.group(), registered)
    FILE.write_text(text, "utf-8")
    _write_hashes()


def _write_hashes() -> None:
    """Write the hash of every registered claim, which covers its date."""
    from zoo.comparison.claims import registry

    registry.content.cache_clear()
    rule_hash.cache_clear()
    text = FILE.read_text("utf-8")
    for claim in all_claims():
        entry = re.compile(rf'(^  {re.escape(claim.key)}:\n(?:    .*\n)*?    hash: ")[^"]*(")', re.MULTILINE)
        text = entry.sub(rf"\g<1>{rule_hash(claim.key, claim.find)}\g<2>", text)
    FILE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
