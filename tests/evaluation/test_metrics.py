"""Tests of the metrics of samples by brute force, closed forms and simulation, and of their discovery."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics

import pytest
import torch

from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, ZooError
from zoo.evaluation import metrics
from zoo.evaluation.context import Context
from zoo.evaluation.features import Extractor
from zoo.evaluation.halves import half_samples
from zoo.evaluation.metrics import NEEDS, Definition, Value, definitions, measure, metric
from zoo.evaluation.metrics.kid import mmd
from zoo.evaluation.metrics.memorisation import closer
from zoo.evaluation.neighbours import share
from zoo.evaluation.settings import Settings

SPEC = DataSpec((1, 4, 4), levels=256)


def plain(dim: int = 3, spoilt: bool = False) -> Extractor:
    """Return the first pixels as features."""

    def function(x):
        result = x.flatten(1)[:, :dim].double()
        return result / 0 if spoilt else result

    return Extractor("plain", "fd/plain", dim, "0" * 64, function, {})


def images(n: int, seed: int, high: int = 256) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(high, (n, 1, 4, 4), generator=generator).float()


def context(samples=None, *, train=30, val=12, test=17, extractor=None, **settings) -> Context:
    splits = {"train": images(train, 1), "val": images(val, 2), "test": images(test, 3)}
    return Context(
        images(23, 4) if samples is None else samples,
        splits,
        SPEC,
        Settings.of(settings),
        plain() if extractor is None else extractor,
    )


@pytest.fixture
def only(monkeypatch):
    """Return a function that leaves the metrics of these names in the protocol, to compute no others."""

    def leave(*names: str) -> None:
        chosen = [definition for definition in definitions() if definition.name in names]
        assert len(chosen) == len(names)
        monkeypatch.setattr(metrics, "definitions", lambda: chosen)

    return leave


def test_every_metric_of_images_has_a_value_a_floor_and_its_provenance():
    measured = measure(context(), {"truncation": 0.5})
    names = ["coverage", "density", "fd", "fd_inf", "kid", "memorisation", "precision", "recall"]
    of_pixels = {"sharpness", "sharpness/spectrum", "energy_distance/pixels"}
    assert set(measured) == {f"{n}/plain" for n in names} | of_pixels
    for name, result in measured.items():
        assert result.reason is None
        assert math.isfinite(result.value)
        assert result.standard_error is not None
        assert result.n == 23
        assert result.details["reference_n"] == 17
        assert result.details["truncation"] == 0.5
        assert ("split_again" in result.details) == name.startswith(("fd", "kid"))
        if name == "energy_distance/pixels":  # of more dimensions than ten draws are worth
            continue
        assert math.isfinite(result.details["floor"])
        assert ("floor_deviation" in result.details) == (result.details["floor_draws"] > 1)
        split = "val" if name.startswith("memorisation") else "train"
        assert result.details["floor_split"] == split
        assert result.details["floor_n"] == 23
        if "/plain" in name:
            assert result.details["weights_sha256"] == "0" * 64
    directions = {name.partition("/")[0]: result.direction for name, result in measured.items()}
    assert directions == {
        "fd": "lower", "fd_inf": "lower", "energy_distance": "lower", "kid": "lower", "precision": "higher",
        "recall": "higher", "density": "higher", "coverage": "higher", "memorisation": "none",
        "sharpness": "one",
    }  # fmt: skip


def test_the_floor_is_the_metric_of_real_examples(only):
    only("fd", "kid", "recall", "sharpness")
    whole = context()
    ours = measure(whole)
    draws = [whole.real("train", draw).samples for draw in range(ours["kid/plain"].details["floor_draws"])]
    compute = {definition.name: definition.compute for definition in definitions()}
    for name in ("fd", "kid", "recall", "sharpness"):
        result = [compute[name](dataclasses.replace(whole, samples=drawn)).value for drawn in draws]
        values = torch.tensor(result, dtype=torch.float64)
        details = ours[name if name == "sharpness" else f"{name}/plain"].details
        assert details["floor"] == pytest.approx(values.mean().item())
        assert details["floor_deviation"] == pytest.approx(values.std().item())
    assert {len(drawn) for drawn in draws} == {23}
    assert any(len(drawn.unique(dim=0)) < 23 for drawn in draws), "with replacement"
    few = measure(context(training_examples=6))
    assert few["fd/plain"].details["floor_n"] == 23


def test_parts_of_the_real_examples_are_disjoint_and_of_the_sizes_of_the_sets():
    whole = context()
    for draw in range(3):
        again = whole.split_again(draw)
        ours, reference = again.features("samples"), again.features("reference")
        assert (len(ours), len(reference)) == (23, 17)
        rows = torch.cat([ours, reference])
        pooled = torch.cat([whole.features(name) for name in ("train", "val", "test")])
        assert len(rows.unique(dim=0)) == 40
        assert bool((torch.cdist(rows, pooled).min(1).values == 0).all())
    assert not torch.equal(
        whole.split_again(0).features("reference"), whole.split_again(1).features("reference")
    )


def reach(x, k):
    return [sorted(math.dist(a, b) for j, b in enumerate(x) if j != i)[k - 1] for i, a in enumerate(x)]


def test_neighbourhood_metrics_by_brute_force():
    whole = context(images(23, 4, high=40) * 5)  # ties and duplicates among few values
    fake, real = (whole.features(name).tolist() for name in ("samples", "test"))
    three, five = reach(real, 3), reach(real, 5)
    own = reach(fake, 3)
    expected = {
        "precision": sum(any(math.dist(f, real[i]) <= three[i] for i in range(17)) for f in fake) / 23,
        "recall": sum(any(math.dist(fake[j], r) <= own[j] for j in range(23)) for r in real) / 17,
        "density": sum(math.dist(f, real[i]) <= five[i] for f in fake for i in range(17)) / (5 * 23),
        "coverage": sum(any(math.dist(f, real[i]) <= five[i] for f in fake) for i in range(17)) / 17,
    }
    measured = measure(whole)
    for name, value in expected.items():
        assert value > 0
        assert measured[f"{name}/plain"].value == pytest.approx(value, abs=1e-12)
    halves = []  # the error of recall, whose reaches are those of the half-sample of samples
    for rows, others in half_samples(23, 17, 200, 0):
        half, rest = [fake[i] for i in rows], [real[i] for i in others]
        within = reach(half, 3)
        near = (any(math.dist(f, r) <= s for f, s in zip(half, within, strict=True)) for r in rest)
        halves.append(sum(near) / len(rest))
    assert measured["recall/plain"].standard_error == pytest.approx(statistics.stdev(halves))


def test_perfect_collapsed_and_distant_samples_have_their_expected_values(only):
    only("precision", "recall", "density", "coverage", "memorisation", "kid")
    base = context(test=400, train=400)
    same = measure(dataclasses.replace(base, samples=images(400, 9)))
    assert all(same[f"{name}/plain"].value > 0.85 for name in ("precision", "recall", "coverage"))
    assert same["density/plain"].value == pytest.approx(1, abs=0.1)
    assert same["memorisation/plain"].value == pytest.approx(
        0.5, abs=4 * same["memorisation/plain"].standard_error
    )
    assert abs(same["kid/plain"].value) < 4 * same["kid/plain"].standard_error
    point = images(1, 9).repeat(400, 1, 1, 1) + torch.randint(2, (400, 1, 4, 4))
    collapsed = measure(dataclasses.replace(base, samples=point))
    assert collapsed["precision/plain"].value > 0.85
    assert collapsed["recall/plain"].value < 0.1
    assert collapsed["coverage/plain"].value < 0.1


def kernel(a, b):
    return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3


def test_kernel_distance_by_brute_force():
    x, y = torch.randn(7, 3), torch.randn(5, 3) + 0.5
    xs, ys = x.double().tolist(), y.double().tolist()

    def mean(pairs):
        values = [kernel(a, b) for a, b in pairs]
        return sum(values) / len(values)

    def distance(a, b):
        within = (mean(itertools.permutations(s, 2)) for s in (a, b))
        return sum(within) - 2 * mean(itertools.product(a, b))

    value, error = mmd(x, y)
    assert value == pytest.approx(distance(xs, ys), rel=1e-9)
    left_out = [
        [distance(xs[:i] + xs[i + 1 :], ys) for i in range(7)],
        [distance(xs, ys[:i] + ys[i + 1 :]) for i in range(5)],
    ]
    variance = sum((len(v) - 1) / len(v) * sum((a - sum(v) / len(v)) ** 2 for a in v) for v in left_out)
    assert error == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_kernel_distance_is_unbiased_and_its_error_that_of_repeated_draws():
    same = torch.tensor([mmd(torch.randn(30, 2), torch.randn(20, 2)) for _ in range(300)]).double()
    assert abs(same[:, 0].mean()) < 4 * same[:, 0].std() / math.sqrt(300)
    apart = torch.tensor(
        [mmd(torch.randn(60, 2) + 1, torch.randn(50, 2)) for _ in range(300)], dtype=torch.float64
    )
    assert apart[:, 1].square().mean().sqrt() == pytest.approx(apart[:, 0].std().item(), rel=0.25)

    # E k of N(m, I): with s = x.y / 2, E (s + 1)^3 = 1 + 3 E s + 3 E s^2 + E s^3
    def expected(a, b):  # means (a, a) and (b, b)
        m1 = a * b
        m2 = (2 * (1 + a * a) * (1 + b * b) + 2 * (a * b) ** 2) / 4
        third = (a**3 + 3 * a) * (b**3 + 3 * b)
        m3 = (2 * third + 6 * (1 + a * a) * (1 + b * b) * a * b) / 8
        return 1 + 3 * m1 + 3 * m2 + m3

    exact = expected(1, 1) + expected(0, 0) - 2 * expected(1, 0)
    assert apart[:, 0].mean() == pytest.approx(exact, abs=4 * apart[:, 0].std().item() / math.sqrt(300))


def test_memorisation_counts_the_pairs_in_which_a_sample_is_closer():
    x, y = torch.tensor([1.0, 2.0, 2.0, 7.0]), torch.tensor([2.0, 3.0, 0.5])
    wins = sum((a < b) + 0.5 * (a == b) for a in x.tolist() for b in y.tolist()) / 12
    assert closer(x, y)[0] == pytest.approx(wins)
    draws = [closer(torch.rand(40), torch.rand(30)) for _ in range(400)]
    values, errors, z = torch.tensor(draws, dtype=torch.float64).unbind(1)
    assert values.mean() == pytest.approx(0.5, abs=0.02)
    assert errors.square().mean().sqrt() == pytest.approx(values.std().item(), rel=0.15)
    assert z.std() == pytest.approx(1, abs=0.15)


def test_a_copied_training_set_is_memorised_and_noise_is_not(only):
    only("memorisation")
    base = context(train=60, test=40)
    train = base.splits["train"]
    copied = measure(dataclasses.replace(base, samples=train[:23]))["memorisation/plain"]
    assert (copied.value, copied.details["copies"]) == (1, 23)
    assert copied.details["closer_than_95%_of_unseen"] == 1
    assert copied.details["nearest_of_samples"] == [0] * 5
    fresh = measure(base)["memorisation/plain"]
    assert (fresh.details["copies"], fresh.details["null"]) == (0, 0.5)
    assert fresh.value < 0.8
    few = measure(dataclasses.replace(base, settings=Settings.of({"training_examples": 7})))
    assert few["memorisation/plain"].details["training_n"] == 7


def test_metrics_of_pairs_use_a_limited_number_of_examples():
    limited = measure(context(pairwise_examples=10))
    for name in ("kid", "precision", "recall", "density", "coverage"):
        assert limited[f"{name}/plain"].n == limited[f"{name}/plain"].details["reference_n"] == 10
    assert limited["fd/plain"].n == 23


def test_the_seed_of_the_protocol_decides_the_bootstrap_and_the_subsets(only):
    only("fd", "kid", "sharpness", "sharpness/spectrum")
    first, again, other = (measure(context(seed=seed)) for seed in (0, 0, 1))
    for name in ("fd/plain", "sharpness", "sharpness/spectrum"):
        assert first[name] == again[name]
        assert first[name].value == other[name].value
        assert first[name].standard_error != other[name].standard_error
    few = [measure(context(seed=seed, pairwise_examples=10))["kid/plain"].value for seed in (0, 1)]
    assert few[0] != few[1]


def test_a_new_metric_is_one_file(monkeypatch, tmp_path):
    (tmp_path / "spread.py").write_text(
        "from zoo.evaluation.metrics import Value, metric\n"
        "@metric('spread', unit='grey levels', direction='higher', needs=('samples', 'pixels'))\n"
        "def spread(context):\n"
        "    return Value(context.pixels('samples').double().std().item())\n"
        "@metric('parameters', direction='none', needs=('model',))\n"
        "def parameters(context):\n"
        "    return Value(7.0)\n"
    )
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path)])
    definitions.cache_clear()
    try:
        measured = measure(context())["spread"]
        assert (measured.unit, measured.direction, measured.n) == ("grey levels", "higher", 23)
        assert measured.value == pytest.approx(images(23, 4).double().std().item())
        assert "floor" in measured.details
        assert "parameters" not in measure(context())
        alone = dataclasses.replace(context(), model=torch.nn.Identity(), failure="No samples.")
        assert measure(alone)["parameters"].value == 7
        assert measure(alone)["spread"].reason == "No samples."
        (tmp_path / "spread2.py").write_text((tmp_path / "spread.py").read_text())
        definitions.cache_clear()
        with pytest.raises(ZooError, match="spread"):
            definitions()
    finally:
        definitions.cache_clear()
    with pytest.raises(ValueError, match="tears"):
        metric("sad", needs=("tears",))


def test_definitions_are_sorted_and_their_errors_are_clear():
    names = [definition.name for definition in definitions()]
    assert names == sorted(names)
    assert {"fd", "kid", "energy_distance", "sharpness"} <= set(names)
    for definition in definitions():
        assert definition.compute.__doc__
        assert set(definition.needs) <= set(NEEDS)


def test_vectors_have_no_metrics_of_images():
    plane = DataSpec((2,))
    splits = {"train": torch.randn(50, 2), "test": torch.randn(40, 2)}
    assert set(measure(Context(torch.randn(30, 2), splits, plane))) == {"energy_distance", "wasserstein2"}


# Invalid input gives a clear error or an empty cell with a reason, never a plausible wrong number.


def reasons(found):
    assert all(result.value is None for result in found.values())
    return {name: result.reason for name, result in found.items()}


def test_too_few_samples_for_the_features_give_a_reason():
    measured = measure(context(images(4, 4), extractor=plain(dim=5)))
    assert "more than 5 examples" in measured["fd/plain"].reason
    for name, words in [("recall", "more than 3"), ("kid", "three examples")]:
        few = measure(context(images(2, 4), extractor=plain(dim=5)))[f"{name}/plain"]
        assert few.value is None
        assert words in few.reason
    assert "more than 5" in measure(context(test=5))["coverage/plain"].reason


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (torch.full((23, 1, 4, 4), 7.0), "All 23 samples are identical"),
        (7 + 0.01 * images(23, 4) / 15, "All 23 samples are identical"),  # compared as bytes
        (images(23, 4).index_fill(0, torch.tensor([2, 5]), math.nan), "2 of 23 samples"),
        (images(23, 4).index_fill(0, torch.tensor([2]), math.inf), "1 of 23 samples"),
        (torch.empty(0, 1, 4, 4), "no samples"),
    ],
)
def test_unusable_samples_give_empty_cells_with_the_reason(samples, words):
    assert all(words in reason for reason in reasons(measure(context(samples))).values())


@pytest.mark.parametrize(("true", "n"), [(0, 20), (20, 20), (7, 20), (1, 1000)])
def test_a_share_has_an_error_where_all_or_none_are_true(true, n):
    value, error = share(true, n)
    assert value == true / n
    # about half the width of Wilson's interval, computed by its formula
    z = 1.959964
    reach = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    assert reach / z / 1.01 < error < 1.6 * reach / z


def test_images_without_structure_have_no_spectrum(only):
    only("sharpness", "sharpness/spectrum")
    flat = torch.arange(23.0)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    measured = measure(context(flat))
    assert measured["sharpness"].value == 0
    assert measured["sharpness/spectrum"].value is None
    base = context()
    real = dataclasses.replace(base, splits={**base.splits, "test": flat})
    assert "fine structure" in measure(real)["sharpness"].reason


def test_a_constant_or_empty_reference_gives_a_reason():
    base = context()
    constant = dataclasses.replace(base, splits={**base.splits, "test": torch.full((17, 1, 4, 4), 3.0)})
    assert all("identical" in reason for reason in reasons(measure(constant)).values())
    empty = dataclasses.replace(base, splits={**base.splits, "test": torch.empty(0, 1, 4, 4)})
    assert all("no test examples" in reason for reason in reasons(measure(empty)).values())
    untrained = {k: v for k, v in base.splits.items() if k == "test"}
    measured = measure(dataclasses.replace(base, splits=untrained))
    assert measured["memorisation/plain"].reason == "There are no training examples."
    assert measured["fd/plain"].details["floor"] is None
    assert "no train examples" in measured["fd/plain"].details["floor_reason"]


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_reference_of_another_shape_or_with_nan_is_an_error(split):
    base = context()
    for x, words in [
        (torch.zeros(17, 1, 4, 5), "shape"),
        (torch.zeros(17, 3, 4, 4), "shape"),
        (images(17, 3).index_fill(0, torch.tensor([0]), math.nan), "not finite"),
    ]:
        with pytest.raises(InvalidData, match=words):
            measure(dataclasses.replace(base, splits={**base.splits, split: x}))


def test_values_and_features_that_are_not_finite_give_a_reason():
    measured = measure(context(extractor=plain(spoilt=True)))
    for name in ("fd", "kid", "precision", "memorisation"):
        assert "damaged" in measured[f"{name}/plain"].reason
    assert measured["sharpness"].value is not None
    spoilt = Definition("odd", lambda context: Value(math.nan), "1", "lower", "estimate", ("samples",), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "definitions", lambda: (spoilt,))
        odd = measure(context())["odd"]
    assert (odd.value, odd.reason) == (None, "The value is nan, not a finite number.")
