"""The lecture's sentences, one file each.

A file beside this one states a sentence and yields the evidence for or against it::

    from zoo.comparison.claims.compare import compare_distance
    from zoo.comparison.claims.sides import representative
    from zoo.comparison.claims.evidence import Evidence, claim
    from zoo.comparison.studies import Study


    @claim("A diffusion model's samples are better than a GAN's.", order=55)
    def diffusion_better(study: Study) -> Evidence:
        diffusion = representative(study, "diffusion", called="a diffusion model")
        gan = representative(study, "gan", called="a GAN")
        yield compare_distance(study, diffusion, gan, "lower")

and is thereby part of the ledger: :func:`all_claims` finds every file. There is no list to edit.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from zoo.comparison.claims.evidence import Claim


@functools.cache
def all_claims() -> tuple[Claim, ...]:
    """Return the claims of every file of this package, in the order of the lecture."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    claims = [value for module in modules for value in vars(module).values() if isinstance(value, Claim)]
    return tuple(sorted(claims, key=lambda claim: claim.order))
