"""Cooperative shutdown: signal handling from the start of the process to its exit.

Nothing heavy is imported here: the handlers are installed before torch is loaded.
"""

import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""Signals that schedulers send before they kill, and that of a terminal that is closed."""
KEPT = "; finished work is kept"


class PreemptedError(BaseException):
    """The command was asked to stop and is not finished; the same command resumes it.

    Like `KeyboardInterrupt` it is not an `Exception`: it may be raised anywhere, and code that catches errors there
    must not mistake it for an error of its own, for example of a file that it reads.
    """


@dataclass
class _State:
    """Stop requests to this process.

    Attributes:
        number: of the last signal received.
        is_final: whether W&B ended the run.
        was_raised: whether `PreemptedError` was already raised.
        deferred: number of nested `deferred` blocks.
        handled: number of nested `handled` blocks.
        group: process group of all ranks for flags, which on GPUs must not wait for the step.
    """

    number: signal.Signals | None = None
    is_final: bool = False
    was_raised: bool = False
    deferred: int = 0
    handled: int = 0
    group: Any = None


_state = _State()


@contextmanager
def handled() -> Iterator[None]:
    """Handle `SIGNALS`: raise `PreemptedError` immediately or, while `deferred`, record the signal."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    install()
    _state.handled += 1
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.handled -= 1
        if not _state.handled:
            _state.number, _state.is_final, _state.was_raised, _state.group = None, False, False, None


def install() -> None:
    """Install the handlers until the process exits, and receive what came since it was started by `blocked`.

    A signal that is ignored, as SIGHUP under nohup, stays ignored.
    """
    owner = os.getpid()

    def note(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a forked child dies as if there were no handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _state.number = signal.Signals(number)
        if not _state.deferred and not _state.was_raised:  # launcher and scheduler may both send a signal
            raise_preempted()

    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, note)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def blocked() -> Iterator[None]:
    """Hold signals back, also in processes that are started meanwhile, until these have installed their handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore() -> None:
    """Ignore the signals from now on, because nothing is left to stop."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred(when: bool = True) -> Iterator[None]:
    """Only record signals until `raise_if_requested`, for work that must be atomic or common to all ranks."""
    _state.deferred += when
    try:
        yield
    finally:
        _state.deferred -= when


@contextmanager
def undeferred() -> Iterator[None]:
    """Inside `deferred`, let signals raise again; one received meanwhile raises `PreemptedError` at once."""
    before, _state.deferred = _state.deferred, 0
    try:
        if not _state.was_raised:
            raise_if_requested_here()
        yield
    finally:
        _state.deferred = before


@contextmanager
def restored() -> Iterator[None]:
    """Raise `PreemptedError` again where other code made another error of it, as compiled code does that imports."""
    try:
        yield
    except PreemptedError:
        raise
    except BaseException as error:
        if _state.was_raised:
            raise_preempted(error=error)
        raise


def raise_if_requested(reason: str = KEPT) -> None:
    """Raise `PreemptedError` on all ranks if any was asked to stop; every rank must call it.

    Args:
        reason: continues "stopped by SIGTERM".
    """
    if is_requested():
        raise_preempted(reason)


def raise_if_requested_here() -> None:
    """Raise `PreemptedError` if this process was asked to stop."""
    if _state.number is not None:
        raise_preempted()


def is_requested() -> bool:
    """Whether any rank was asked to stop; every rank must call it."""
    dist: Any = sys.modules.get("torch.distributed")
    if dist is None or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return _state.number is not None
    import torch

    if _state.group is None:
        _state.group = dist.new_group(backend="gloo")
    flag = torch.tensor(0 if _state.number is None else int(_state.number))
    dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=_state.group)
    if flag.item():
        _state.number = signal.Signals(int(flag))
    return bool(flag)


def request_termination() -> None:
    """Stop this process as SIGTERM does, but without resumption; any thread may call it."""
    _state.is_final = True
    interrupt_main(signal.SIGTERM)


def is_termination_requested() -> bool:
    """Whether W&B ended the run of this process permanently."""
    return _state.is_final


def raise_preempted(reason: str = KEPT, error: BaseException | None = None) -> NoReturn:
    """Stop this process after a request.

    Args:
        reason: continues "stopped by SIGTERM".
        error: what was raised in its place.

    Raises:
        PreemptedError: always.
    """
    assert _state.number is not None
    _state.was_raised = True
    raise PreemptedError(f"stopped by {_state.number.name}{reason}") from error
