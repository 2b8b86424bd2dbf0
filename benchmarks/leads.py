"""What could make zoo faster, as it was listed before the work on speed began, and what became of it."""

from __future__ import annotations

from typing import NamedTuple


class Lead(NamedTuple):
    """A lead, what became of it, and where that can be read."""

    words: str
    fate: str  # kept, reverted, not tried or refused
    where: str


LEADS = [
    Lead("fewer checks, lookups and keys in a call of log_prob", "kept", "b73afc67"),
    Lead("couplings keep their two halves apart", "kept", "b73afc67"),
    Lead("masked weights are kept in evaluation", "kept", "the table of ideas"),
    Lead("MAF samples unit by unit, each computed once", "kept", "maf_sampling in table.md"),
    Lead("MAF samples of small batches by NumPy, on the memory of torch", "kept", "the table of ideas"),
    Lead("MAF samples by Jacobi iteration", "kept as a setting", "5d92eccf, jacobi.md"),
    Lead(
        "Euler's steps taken outside of torchdiffeq, and a state of one part passed as it is",
        "kept",
        "the class ContinuousFlow",
    ),
    Lead("the exact trace of a small field in closed form", "kept", "continuous in table.md"),
    Lead(
        "the exact log-determinant of a residual block, carried along", "kept", "residual_exact in table.md"
    ),
    Lead("channels last for convolutions", "kept", "the table of ideas"),
    Lead("torch.compile of the loss, with its gradients checked", "kept as a setting", "peers/table.md"),
    Lead(
        "fused Adam",
        "kept; where networks alternate it is not used, since that amplifies rounding",
        "8e47f469",
    ),
    Lead("W = P L U of a 1x1 convolution, and its inverse, computed once in evaluation", "kept", "cd82bc40"),
    Lead("the 1x1 inverse by two triangular solves", "kept", "the class InvertibleConv1x1"),
    Lead("spectral weights normalised once a call", "kept", "cd82bc40"),
    Lead("columns between MADE's layers in training", "reverted", "ad3e8df1"),
    Lead(
        "keyed noise mixed by NumPy on a CPU",
        "kept, after a first trial that could not draw under vmap (56e2ae36): there torch mixes",
        "the table of ideas",
    ),
    Lead("actnorm folded into the weight of the 1x1 convolution", "not tried", ""),
    Lead("tanh(x) as 2 sigmoid(2x) - 1", "kept", "the function soft_clamp"),
    Lead("a hand-written backward pass of a run of affine couplings", "kept", "the table of ideas"),
    Lead(
        "the same with activation normalisation between the couplings", "kept", "the module dense_couplings"
    ),
    Lead(
        "thresholds of malloc raised for training",
        "refused: a step has no page faults then, but no difference of its time was seen",
        "",
    ),
    Lead("time as a bias of a dense field in place of an input", "not tried", ""),
    Lead("bf16 on a CPU", "not tried: it is a setting (trainer.precision), not the same numbers", ""),
    Lead("Anderson or Newton steps for a residual block's inverse", "refused: the prototype was slower", ""),
    Lead(
        "looser solvers where continuous flows are evaluated",
        "kept in the quickstart: 1e-4",
        "sweeps/quickstart.yaml",
    ),
    Lead("one solve for a likelihood and for diagnostics of the flow", "not tried", ""),
    Lead("DPM-Solver or Heun's method for samples of diffusion", "not tried", ""),
    Lead("OMP_WAIT_POLICY=PASSIVE", "refused: the prototype was slower", ""),
]
