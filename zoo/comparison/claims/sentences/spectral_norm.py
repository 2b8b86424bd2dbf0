"""A GAN with a spectrally normalised critic, beside the same GAN with a plain one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.comparison.claims.compare import compare_tuned
from zoo.comparison.claims.evidence import Evidence, claim
from zoo.comparison.claims.factorial import SPECTRAL, over_the_others
from zoo.comparison.claims.sides import at_best_rates, is_clipped_wgan, representative, trick
from zoo.comparison.configurations import differing
from zoo.comparison.studies import Study


@claim("Spectral normalisation of the critic improves a GAN.", order=70)
def spectral_norm(study: Study) -> Evidence:
    names = ("spectral critic", "plain critic")
    sides = trick(study, "gan", "model.critic_norm", lambda norm: norm == "none", names)
    yield compare_tuned(study, at_best_rates(study, *sides), "lower")
    yield from over_the_others(study, SPECTRAL)
    gan = representative(study, "gan", called="a GAN")
    # the pair nearest to the GAN as it is shipped; the line above compares all pairs of a factorial
    pairs = study.pair(gan.model, "model.critic_norm", _is_plain_without_r1)
    for plain, spectral in sorted(pairs, key=lambda pair: len(differing(pair[0], gan)))[:1]:
        sides = spectral.named("spectral critic without R1"), plain.named("plain critic without R1")
        yield compare_tuned(study, at_best_rates(study, *sides), "lower", decides=False)
    published = representative(study, "gan", _is_spectral, called="a GAN with a spectral critic")
    clipped = representative(study, "gan", is_clipped_wgan, called="a WGAN with clipped weights")
    yield compare_tuned(study, at_best_rates(study, published, clipped), "lower", decides=False)


def _is_spectral(settings: Mapping[str, Any]) -> bool:
    return settings.get("model.critic_norm") == "spectral"


def _is_plain_without_r1(settings: Mapping[str, Any]) -> bool:
    return settings.get("model.critic_norm") == "none" and not settings.get("training.r1")
