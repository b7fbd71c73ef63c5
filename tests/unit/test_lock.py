"""requirements.lock has every dependency within its range, with hashes; setup installs nothing else."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers.paths import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
ENTRIES = re.findall(r"^(\S[^\n]*?) \\\n((?:    --hash=\S+(?: \\)?\n?)+)", LOCK, flags=re.M)


def locked() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line, _ in ENTRIES:
        requirement = Requirement(line)
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def test_every_line_is_one_version_with_hashes() -> None:
    assert len(ENTRIES) > 100
    rest = LOCK
    for line, hashes in ENTRIES:
        rest = rest.replace(f"{line} \\\n{hashes}", "", 1)
        assert re.fullmatch(r"[\w.\-\[\],]+==[\w.+!]+( ; .+)?", line)
        assert re.findall(r"--hash=(sha256:[0-9a-f]{64})", hashes)
    assert not rest.strip()


def test_every_dependency_is_locked_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    asked = [*project["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
    asked += project["build-system"]["requires"]
    known = locked()
    for requirement in map(Requirement, asked):
        if requirement.name == "mmnar-lightning":
            continue
        versions = [next(iter(entry.specifier)).version for entry in known[canonicalize_name(requirement.name)]]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_locked_setup_fetches_only_what_has_a_hash(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    command = ["make", "-n", "setup", f"PYTHON={sys.executable}"]
    lines = subprocess.run([*command, "LOCKED=1"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    installs = [line for line in lines.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert "--require-hashes --only-binary :all: --requirement requirements.lock" in installs[0]
    assert "--no-deps --no-build-isolation" in installs[1]
    plain = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "--editable '.[dev]'" in plain
    assert "requirements.lock" not in plain
    refused = subprocess.run(
        [*command, "LOCKED=1", "TORCH_INDEX=https://example.org"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "omit TORCH_INDEX" in refused.stderr
