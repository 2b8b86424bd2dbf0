"""How values were measured, in sentences: the protocol, and the kind of a number with its reason.

The page and the terminal both say these words; the settings as they are written stand elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.quantities import LIKELIHOODS
from zoo.record import Metric

SETTINGS: dict[str, Callable[[str], str]] = {  # a setting of the protocol with its value, in words
    "samples": lambda n: "the usual number of samples" if n == "null" else f"{_count(n)} samples",
    "reference": lambda name: (
        f"the {'test' if name == 'test' else 'training and validation'} images as reference"
    ),
    "pairwise_examples": lambda n: f"all pairs of at most {_count(n)} examples",
    "training_examples": lambda n: f"the nearest of at most {_count(n)} training examples",
    "likelihood_examples": lambda n: "all test examples" if n == "null" else f"{_count(n)} test examples",
    "dequantisation_samples": lambda n: f"{_count(n)} noise{'s' * (n != '1')} an example",
    "batch_size": lambda n: f"batches of {_count(n)}",
    "latency_repeats": lambda n: f"{_count(n)} timed calls",
    "throughput_batches": lambda sizes: f"speeds at batches of {sizes.strip('[]')}",
    "throughput_repeats": lambda n: f"{_count(n)} timed calls at each batch size",
    "time_limit_seconds": lambda n: f"at most {float(n):g} s for each speed",
    "extractor": lambda name: "the data's own features" if name == "null" else f"features of {name}",
    "seed": lambda n: f"seed {n} of the evaluation",
    "version": lambda n: f"version {n} of the protocol",
}


METRICS = {  # in words; a name may have the features or the number format after a slash
    "active_units": "active latent units",
    "bits_per_dim": "bits/dim",
    "bits_per_dim/ode": "bits/dim of the ODE",
    "elbo": "ELBO",
    "energy_distance": "energy distance",
    "fd_inf": "fd, n → ∞",
    "inverse_iterations": "iterations of the inverse",
    "inverse_residual": "residual of the inverse",
    "invertibility": "inversion error",
    "kl": "KL (nats)",
    "kl_to_prior": "KL to the prior",
    "latent_units": "latent units",
    "lipschitz": "Lipschitz",
    "log_det_error": "log-det error",
    "mode_coverage": "coverage of modes",
    "mode_quality": "quality of modes",
    "modes_captured": "modes captured",
    "nll": "NLL (nats)",
    "normalised_path_energy": "path energy, normalised",
    "reverse_kl": "reverse KL",
    "sharpness/spectrum": "spectrum",
    "wasserstein2": "Wasserstein-2",
}
CURVES = {"val": "validation", "train": "training"}
LOGGED = {"bits_per_dim": "bits/dim", "nll": "NLL (nats/dim)"}


def metric_name(name: str) -> str:
    """Return the name of a metric in words, as far as they are known.

    >>> metric_name("log_det_error"), metric_name("invertibility/float32"), metric_name("fd_inf/digits-cnn")
    ('log-det error', 'inversion error, float32', 'fd, n → ∞, digits-cnn')
    >>> metric_name("fd/digits-cnn"), metric_name("mine/a_b")
    ('fd/digits-cnn', 'mine/a_b')
    """
    if name in METRICS:
        return METRICS[name]
    base, slash, part = name.partition("/")
    words = METRICS.get(base, base)
    return f"{words}{', ' if words != base else slash}{part}" if slash else words


def curve_name(name: str) -> str:
    """Return the name of a logged curve in words, as far as they are known.

    >>> curve_name("val/nll"), curve_name("train/gradient_norm"), curve_name("mine/curve")
    ('validation NLL (nats/dim)', 'training gradient norm', 'mine/curve')
    """
    when, slash, what = name.partition("/")
    return f"{CURVES[when]} {LOGGED.get(what, what.replace('_', ' '))}" if slash and when in CURVES else name


def _count(text: str) -> str:
    return f"{int(text):,}" if text.isdecimal() else text


def setting_text(name: str, value: str) -> str:
    """Return a setting of the protocol in words.

    >>> setting_text("samples", "10000"), setting_text("likelihood_examples", "null")
    ('10,000 samples', 'all test examples')
    >>> setting_text("mine.bins", "8")
    'mine.bins 8'
    """
    if name in SETTINGS:
        try:
            return SETTINGS[name](value)
        except ValueError:  # a value that this version does not know
            pass
    return f"{name} {value}"


def protocol_text(runs: Sequence[Run], settings: Mapping[str, str]) -> str:
    """Return how runs were judged, by what was measured and by the settings of their protocol.

    Args:
        runs: of one data set and protocol.
        settings: of the protocol; empty where nobody recorded them.
    """
    metrics = [item for run in runs for item in run.record.metrics.items() if item[1].value is not None]
    scored = max((m.n for name, m in metrics if name in LIKELIHOODS), default=0)
    drawn = next((m for _, m in metrics if "reference_n" in m.details), None)
    features = next((m.details["extractor"] for _, m in metrics if "extractor" in m.details), None)
    every = settings.get("likelihood_examples") == "null"
    facts = []
    if scored:
        facts.append(f"{'all ' if every else ''}{scored:,} test examples scored")
    if drawn is not None:
        facts.append(f"{drawn.n:,} samples against {drawn.details['reference_n']:,} real ones")
    if features:
        facts.append(f"features of {features}")
    named = [name for name in ("latency_repeats", "version") if name in settings]
    facts += [setting_text(name, settings[name]) for name in named]
    return "; ".join(facts) or "not recorded"


def metric_text(metric: Metric) -> str:
    """Return the kind of a metric's value and its reason; without a value why there is none.

    >>> metric_text(Metric(1.9, "1", n=1000, details={"reference_n": 360, "extractor": "digits-cnn"}))
    'an estimate: of 1,000 samples against 360 real ones, by the features of digits-cnn'
    >>> metric_text(Metric(2.0, "bits/dim", "lower bound", n=360, details={"bound": "ELBO"}))
    'a bound (ELBO): of 360 test examples'
    """
    if metric.value is None:
        return metric.reason or ""
    details = metric.details
    of = f"of {metric.n:,} {metric.split} examples"
    if "reference_n" in details:
        of = f"of {metric.n:,} samples against {details['reference_n']:,} real ones"
        if "extractor" in details:
            of += f", by the features of {details['extractor']}"
    words = [f"{_kind(metric)}: {of}"]
    if "solver" in details:
        words.append(f"solver {details['solver']}{_tolerance(details)}")
    elif "tolerance" in details:
        words.append(f"tolerance {details['tolerance']:g}")
    if "trace" in details:
        words.append(f"trace {details['trace']}")
    if isinstance(change := details.get("looser_change_nats"), int | float) and "looser" in details:
        words.append(f"{change:+.2g} nats at {details['looser']}")
    words += [str(details[name]) for name in ("remark", "evaluated") if name in details]
    return "; ".join(words)


def _kind(metric: Metric) -> str:
    details = metric.details
    if metric.kind == "lower bound":
        terms = details.get("importance_samples", 1)
        several = f", {terms} importance samples" if isinstance(terms, int) and terms > 1 else ""
        return f"a bound ({details['bound']}{several})" if "bound" in details else "a bound"
    if metric.kind == "exact":
        return "exact for the dequantised density" if details.get("dequantisation") == "uniform" else "exact"
    return "an estimate"


def _tolerance(details: Mapping[str, Any]) -> str:
    known = [f"{details[name]:g}" for name in ("atol", "rtol") if isinstance(details.get(name), int | float)]
    return f" at a tolerance of {' and '.join(dict.fromkeys(known))}" if known else ""


def timing_text(facts: Mapping[str, Any]) -> str:
    """Return how a duration or a speed was measured.

    Args:
        facts: of a column of times; those that are None are left out.

    >>> timing_text({"latency_repeats": 20, "device": "cpu", "threads": 1, "compiled": False})
    'median of 20 timed calls of one sample; on cpu, 1 thread, not compiled'
    >>> timing_text({"latency_repeats": 9, "session": "1f2e"})
    'lower quartile of 9 undisturbed calls of one sample, in turns with the other runs of zoo time'
    """
    known = {name: value for name, value in facts.items() if value is not None}
    words = []
    if "latency_repeats" in known and "session" in known:
        words.append(
            f"lower quartile of {known['latency_repeats']:,} undisturbed calls of one sample, in turns with "
            "the other runs of zoo time"
        )
    elif "latency_repeats" in known:
        words.append(f"median of {known['latency_repeats']:,} timed calls of one sample")
    if "throughput_batch" in known:
        words.append(f"at the fastest batch size, {known['throughput_batch']:,}")
    if "device_seconds" in known:
        words.append(f"{known['device_seconds']:,.4g} device seconds")
    where = [f"on {known['device']}"] if "device" in known else []
    if "threads" in known:
        where.append(f"{known['threads']} thread{'s' * (known['threads'] != 1)}")
    if "dtype" in known:
        where.append(str(known["dtype"]))
    if "compiled" in known:
        where.append("compiled" if known["compiled"] else "not compiled")
    if where:
        words.append(", ".join(where))
    if "peak_memory_bytes" in known:
        words.append(f"at most {known['peak_memory_bytes'] / 1e6:,.4g} MB")
    return "; ".join(words)
