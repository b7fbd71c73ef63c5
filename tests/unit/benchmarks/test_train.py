"""What `benchmarks.train` counts is there: it names functions by strings, which no type checker reads."""

from benchmarks.train import ORDER, REST, Parts, work_of_parts


def test_every_function_that_is_counted_exists() -> None:
    counted = work_of_parts()
    assert {part for _, _, part in counted} == {*ORDER} - {"imports", REST}
    for owner, name, _ in counted:
        assert callable(getattr(owner, name, None)), f"{owner.__name__}.{name}"


def test_a_part_within_another_is_not_counted_twice() -> None:
    class Work:
        @staticmethod
        def outer() -> int:
            return Work.inner() + sum(range(2_000_000))

        @staticmethod
        def inner() -> int:
            return sum(range(4_000_000))

    parts = Parts()
    parts.wrap(Work, "inner", "inner")
    parts.wrap(Work, "outer", "outer")
    Work.outer()
    assert 0 < parts.seconds["outer"] < parts.seconds["inner"]
