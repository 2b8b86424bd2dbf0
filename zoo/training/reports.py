"""The values of updates, on their way from the device to the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from zoo.ranks import world_size

# Where the host need not wait for an update's values before it makes the next one.
LATE = {"cuda"}


@dataclass(frozen=True)
class Values:
    """The values of an update on the host, means over all processes.

    Attributes:
        logged: values by name.
        norms: gradient norm of each optimiser step before clipping, with the name of the player.
        signalled: whether any process was asked to end before it.
    """

    logged: dict[str, float]
    norms: list[tuple[str, float]]
    signalled: bool


class Report:
    """The values of an update, which one collective operation averages and one copy brings to the host.

    Args:
        update: number of the update, from 1.
        logged: values by name.
        norms: gradient norms with the names of the players.
        signalled: whether this process was asked to end.
    """

    def __init__(
        self,
        update: int,
        logged: Mapping[str, Tensor],
        norms: Sequence[tuple[str, Tensor]],
        signalled: bool,
    ) -> None:
        self.update, self.names, self.players = update, list(logged), [player for player, _ in norms]
        self.signalled = signalled
        values = torch.stack([value.detach() for value in (*logged.values(), *(norm for _, norm in norms))])
        if world_size() > 1:
            values = torch.cat([values.double(), values.new_full((1,), float(signalled)).double()])
            distributed.all_reduce(values)
            values = values / world_size()
        self._host = _to_host(values)

    def read(self) -> Values:
        """Return the values; wait for them if the device has not come so far."""
        values = self._host()
        count = len(self.names) + len(self.players)
        signalled = self.signalled if len(values) == count else values[-1] > 0
        logged = dict(zip(self.names, values, strict=False))
        return Values(
            logged, list(zip(self.players, values[len(self.names) : count], strict=True)), signalled
        )


def _to_host(values: Tensor) -> Callable[[], list[float]]:
    """Start a copy of values to the host; return the function that waits for its end and returns them."""
    if values.device.type != "cuda":
        return values.tolist  # type: ignore[no-any-return, unused-ignore]  # torch has no type for it
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def read() -> list[float]:
        copied.synchronize()
        return list(host.tolist())

    return read
