"""Print the table of the second derivation on the open demos: `python -m benchmarks.validation`."""

import tempfile
from pathlib import Path

from benchmarks.scale import demo
from benchmarks.validation.compare import report
from benchmarks.validation.demos import PARTS


def main() -> None:
    """Derive, compare, print."""
    parts = []
    for name, parts_of in PARTS.items():
        folder = demo(name)
        if folder is not None:
            with tempfile.TemporaryDirectory(prefix="mmnar-validation-") as scratch:
                parts += list(parts_of(folder, Path(scratch)))
    report(parts)


if __name__ == "__main__":
    main()
