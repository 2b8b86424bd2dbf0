"""The values that an update logs: averaged over the processes and copied from the device to the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from zoo.ranks import world_size

# Kinds of device on which the host may start the next update before it has the values of the last one.
LATE = {"cuda"}


@dataclass(frozen=True)
class Values:
    """The values of one update as Python numbers, means over all processes.

    Attributes:
        logged: the values to log, by name.
        norms: gradient norm before clipping of each optimiser step, with the name of the player that made it.
        signalled: whether any process had received a signal to end when the update was made.
    """

    logged: dict[str, float]
    norms: list[tuple[str, float]]
    signalled: bool


class Report:
    """The values of one update while they are computed; :meth:`read` waits for them and returns them.

    The constructor starts one collective operation, which averages all values over the processes, and one
    copy of the means to the host.

    Args:
        update: number of the update, from 1.
        logged: the values to log, by name: scalars on the device.
        norms: gradient norm of each optimiser step, with the name of its player.
        signalled: whether this process has received a signal to end.
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
        self._host = to_host(values)

    def read(self) -> Values:
        """Return the values, as soon as the device has computed them and they are on the host."""
        values = self._host()
        count = len(self.names) + len(self.players)
        signalled = self.signalled if len(values) == count else values[-1] > 0
        logged = dict(zip(self.names, values, strict=False))
        return Values(
            logged, list(zip(self.players, values[len(self.names) : count], strict=True)), signalled
        )


def to_host(values: Tensor) -> Callable[[], list[float]]:
    """Start copying a vector to the host; return a function that waits for the copy and returns the values.

    On a CPU nothing is copied, and the function only reads the vector.
    """
    if values.device.type != "cuda":
        return values.tolist  # type: ignore[no-any-return, unused-ignore]  # torch gives tolist no type
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def read() -> list[float]:
        copied.synchronize()
        return list(host.tolist())

    return read
