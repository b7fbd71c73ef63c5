"""What results.json says of the program and the machine that computed it."""

import getpass
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from mmnar_lightning.runs import environment


def test_packages_and_hardware_are_described_without_names_of_user_machine_or_folder() -> None:
    found = environment.describe()
    assert found["packages"]["torch"] == version("torch")
    assert found["cores"] >= 1
    assert found["python"] == platform.python_version()
    texts = str(found)
    assert not [name for name in (platform.node(), str(Path.home()), f"/{getpass.getuser()}/") if name in texts]


def git(folder: Path, *words: str) -> str:
    own = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    return subprocess.run(["git", *own, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_a_checkout_has_its_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    assert environment._checkout(tmp_path) == {"commit": None, "dirty": None}
    git(tmp_path, "init")
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "notes.txt").touch()
    assert environment._checkout(tmp_path) == {"commit": commit, "dirty": False}, "a file beside it is no change"
    (tmp_path / "a.py").write_text("2\n")
    assert environment._checkout(tmp_path) == {"commit": commit, "dirty": True}


def test_a_machine_without_git_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment._checkout(tmp_path) == {"commit": None, "dirty": None}


@pytest.mark.parametrize(("text", "expected"), [("131072000 kB", 125), ("", None)])
def test_memory_is_in_gigabytes(text: str, expected: int | None) -> None:
    assert environment._gigabytes(text) == expected
