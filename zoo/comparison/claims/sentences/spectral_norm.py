"""A GAN with a spectrally normalised critic, beside the same GAN with a plain one."""

from __future__ import annotations

from typing import Any

from zoo.comparison.claims.compare import compare_distance
from zoo.comparison.claims.sides import baseline, trick
from zoo.comparison.claims.verdict import Evidence, claim
from zoo.comparison.studies import Study


@claim("Spectral normalisation of the critic improves a GAN.", order=70)
def spectral_norm(study: Study) -> Evidence:
    names = ("spectral critic", "plain critic")
    spectral, plain = trick(study, "model.critic_norm", lambda norm: norm == "none", names)
    yield compare_distance(study, spectral, plain, "lower", own_rates=True)
    for plain, spectral in study.pair("gan", "model.critic_norm", _is_plain_without_r1):
        sides = spectral.named("spectral critic without R1"), plain.named("plain critic without R1")
        yield compare_distance(study, *sides, "lower", decides=False, own_rates=True)
    published = baseline(study, "sngan"), baseline(study, "wgan")
    yield compare_distance(study, *published, "lower", decides=False)


def _is_plain_without_r1(settings: dict[str, Any]) -> bool:
    return settings.get("model.critic_norm") == "none" and not settings.get("training.r1")
