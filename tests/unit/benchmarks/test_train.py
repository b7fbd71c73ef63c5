"""What `benchmarks.train` counts is there: it names functions by strings, which no type checker reads."""

import pytest

from benchmarks import train
from benchmarks.train import ORDER, REST, Parts, work_of_parts


def test_every_function_that_is_counted_exists() -> None:
    counted = work_of_parts()
    assert {part for _, _, part in counted} == {*ORDER} - {"imports", REST}
    for owner, name, _ in counted:
        assert callable(getattr(owner, name, None)), f"{owner.__name__}.{name}"


def test_a_part_within_another_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(train, "cpu_seconds", lambda: clock[0])

    class Work:
        @staticmethod
        def outer() -> None:
            clock[0] += 2
            Work.inner()
            clock[0] += 1

        @staticmethod
        def inner() -> None:
            clock[0] += 4

    parts = Parts()
    parts.wrap(Work, "inner", "inner")
    parts.wrap(Work, "outer", "outer")
    Work.outer()
    assert parts.seconds == {"rest": 0, "outer": 3, "inner": 4}
