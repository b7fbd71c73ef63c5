"""Finds words that the project's English does not use: `python tests/helpers/words.py [FILES]`."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORDS = {
    "told": "described, shown, named",
    "tell": "say, show, describe",
    "tells": "says, shows, describes",
    "heed": "read, apply, respect",
    "heeds": "reads, applies, respects",
    "heeded": "read, applied, respected",
    "mend": "fix",
    "mends": "fixes",
    "mended": "fixed",
    "of now": "current",
    "whoever": "any process, any user",
    "goes on with": "continues, resumes",
    "going on": "continuing, resuming",
    "gone on with": "continued, resumed",
    "somebody": "the user, another process",
    "rival": "baseline",
    "rivals": "baselines",
    "film": "image, chest radiograph",
    "films": "images, chest radiographs",
}
"""Word -> what to write instead."""
EXEMPT = (
    "tests/helpers/words.py",
    "tests/unit/config/test_renamed.py",
    "tests/unit/test_house.py",
    "mmnar_lightning/config/renamed.py",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
)
"""Files that name the words on purpose: the list itself, old settings, and what changed."""
_PATTERN = re.compile(rf"(?<![^\W_])(?<!\.)({'|'.join(map(re.escape, WORDS))})(?![^\W_])", re.IGNORECASE)
"""An underscore separates words: names are read too."""
_ENDINGS = {".py", ".md", ".yaml", ".yml", ".toml", ".sbatch", ".html", ".j2"}
_NAMES = {"Makefile", ".ci/run"}


def found(paths: Sequence[Path]) -> Iterator[str]:
    """One line for each word in a file."""
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for match in _PATTERN.finditer(line):
                word = match[0]
                yield f"{path.relative_to(ROOT)}:{number}: {word!r}; write {WORDS[word.lower()]}"


def main(given: Sequence[str]) -> int:
    """Check the given files, or all tracked ones; returns the exit status."""
    listed = (
        given
        or subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    )
    paths = [(ROOT / name).resolve() for name in listed if Path(name).suffix in _ENDINGS or name in _NAMES]
    chosen = [path for path in paths if path.is_file() and str(path.relative_to(ROOT)) not in EXEMPT]
    lines = list(found(chosen))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
