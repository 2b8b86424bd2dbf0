"""Write the hash of every claim's rule into the registry: python scripts/register.py.

Run it after a rule was changed on purpose; the rule's date and its changes are written by hand.
"""

from __future__ import annotations

import re

from zoo.comparison.claims.registry import FILE, rule_hash
from zoo.comparison.claims.sentences import all_claims


def main() -> None:
    """Replace the hash of every registered claim by that of its rule as it is now."""
    text = FILE.read_text("utf-8")
    for claim in all_claims():
        entry = re.compile(rf'(^  {re.escape(claim.key)}:\n(?:    .*\n)*?    hash: ")[^"]*(")', re.MULTILINE)
        text = entry.sub(rf"\g<1>{rule_hash(claim.key, claim.find)}\g<2>", text)
    FILE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
