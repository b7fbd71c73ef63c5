"""Asked to stop, by a scheduler's signal or by W&B: what a command does then, from its first line to its last.

Imports of heavy libraries wait: a command heeds signals before it has loaded them.
"""

import os
import signal
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What schedulers send before they kill."""
KEPT = "; what is finished stays"


class PreemptedError(BaseException):
    """The command was asked to stop and is not finished; the same command goes on.

    No `Exception`, as `KeyboardInterrupt` is none: it may rise anywhere, and what catches errors there must not
    take it for one of a file that it reads.
    """


@dataclass
class _Asked:
    """What this process was asked for.

    Attributes:
        number: of the last signal that came.
        for_good: whether W&B wants the run to be over.
        was_told: whether `PreemptedError` rose already.
        held: how many `held` blocks this process is in.
        heeding: how many `heeding` blocks it is in.
        group: of all ranks, for flags; on GPUs they must not wait for the step.
    """

    number: signal.Signals | None = None
    for_good: bool = False
    was_told: bool = False
    held: int = 0
    heeding: int = 0
    group: Any = None


_asked = _Asked()


@contextmanager
def heeding() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 raise `PreemptedError` where the program is, or, while it is `held`, be noted."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    owner = os.getpid()

    def note(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a forked child, which dies as if there were no handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _asked.number = signal.Signals(number)
        if not _asked.held and not _asked.was_told:  # a launcher and a scheduler may both send one
            preempt()

    for number in SIGNALS:
        signal.signal(number, note)
    _asked.heeding += 1
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.heeding -= 1
        if not _asked.heeding:
            _asked.number, _asked.for_good, _asked.was_told, _asked.group = None, False, False, None


@contextmanager
def held(when: bool = True) -> Iterator[None]:
    """Only note what is asked for, until a `check`: something must be done whole, or by all ranks together."""
    _asked.held += when
    try:
        yield
    finally:
        _asked.held -= when


def check(told: str = KEPT) -> None:
    """Raise if any rank was asked to stop; every rank must call it.

    Args:
        told: goes on with "stopped by SIGTERM".

    Raises:
        PreemptedError: on all ranks.
    """
    if is_asked():
        preempt(told)


def check_alone() -> None:
    """Raise if this process was asked to stop."""
    if _asked.number is not None:
        preempt()


def is_asked() -> bool:
    """Whether any rank was asked to stop; every rank must call it."""
    from mmnar_lightning.distributed import world_size

    if world_size() == 1:
        return _asked.number is not None
    import torch
    import torch.distributed as dist

    if _asked.group is None:
        _asked.group = dist.new_group(backend="gloo")
    flag = torch.tensor(0 if _asked.number is None else int(_asked.number))
    dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=_asked.group)
    if flag.item():
        _asked.number = signal.Signals(int(flag))
    return bool(flag)


def stop_for_good() -> None:
    """Ask this process to stop as SIGTERM does, and never to be gone on with; any thread may call it."""
    _asked.for_good = True
    interrupt_main(signal.SIGTERM)


def is_for_good() -> bool:
    """Whether W&B told this process that its run is to be over."""
    return _asked.for_good


def preempt(told: str = KEPT) -> NoReturn:
    """Stop this process, which was asked to.

    Args:
        told: goes on with "stopped by SIGTERM".

    Raises:
        PreemptedError: always.
    """
    assert _asked.number is not None
    _asked.was_told = True
    raise PreemptedError(f"stopped by {_asked.number.name}{told}")
