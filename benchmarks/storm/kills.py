"""Kills at random moments; the same command must then leave what an undisturbed one leaves."""

import random
import signal
import time
from pathlib import Path

from benchmarks.storm import place as places
from benchmarks.storm.case import Case
from benchmarks.storm.place import STAGES, Results, words_of
from benchmarks.storm.processes import DEFECT, GONE_SECONDS, Ended, killed, left_over, run

STOPPED = {-signal.SIGKILL, -signal.SIGTERM, 0, 75, 143}
"""Statuses of a command that was killed, or asked to stop: 75 is stopped and resumable."""


def cases() -> list[Case]:
    """All kills."""
    return [Case("kill", stage.name, number) for stage in STAGES.values() for number in range(stage.kills)]


def tried(case: Case, whole: Path, place: Path, undisturbed: dict[str, dict[str, object]]) -> str:
    """Kill a command, then run it again; returns what failed, or nothing."""
    stage, chance = STAGES[case.what], random.Random(f"{case.what} {case.number}")
    before = undisturbed[stage.name]
    places.copy(whole, stage.start, place)
    words = words_of(stage, place)
    seconds = chance.uniform(0.0, float(str(before["seconds"])))
    number = signal.SIGTERM if case.number % 4 == 3 else signal.SIGKILL
    group = case.number % 4 != 2
    first = killed(place, words, seconds, number, group=group)
    if problem := _problem_of(first):
        return problem
    again = run(place, words)
    if again.status and "exists; remove it" not in again.output:
        return f"the same command ended with status {again.status}: {last_line(again)}"
    return different(stage.made(place), before["made"]) or _remains(place)


def _problem_of(first: Ended) -> str:
    if first.status not in STOPPED:
        return f"the killed command ended with status {first.status}: {last_line(first)}"
    if first.status != -signal.SIGKILL and (DEFECT in first.output or "Traceback" in first.output):
        return f"the killed command printed a traceback: {last_line(first)}"
    deadline = time.monotonic() + GONE_SECONDS
    while left_over(first.group):
        if time.monotonic() > deadline:
            return "processes of the killed command are alive"
        time.sleep(0.1)
    return ""


def different(found: Results, expected: object) -> str:
    """What differs from what an undisturbed command left; empty if nothing does."""
    assert isinstance(expected, dict)
    names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    return f"{', '.join(names[:3])} of {len(names)} differ from those of an undisturbed command" if names else ""


def _remains(place: Path) -> str:
    parts = [str(path.relative_to(place)) for path in place.rglob("*.partial")]
    return f"remains are left: {', '.join(parts[:3])}" if parts else ""


def last_line(ended: Ended) -> str:
    """The last line that a command printed."""
    return next((line.strip() for line in reversed(ended.output.splitlines()) if line.strip()), "")[:200]
