"""The rules of docs/architecture.md that import contracts cannot state."""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from tests.helpers import words
from tests.helpers.paths import ROOT

PACKAGES = ("data_modules", "mmnar_lightning")
WHOLE = ("cli.py", "commands", "sweeps", "tables", "runs", "config", "__init__.py")
"""Rooms of mmnar_lightning that may know the whole configuration."""
ROOMS = {"tables", "cohort", "config", "concepts", "events", "demographics", "modalities", "spec"}
"""Files that every database of the project has."""


def sources(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def names_in_signatures(tree: ast.Module) -> set[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    annotations = [
        part
        for node in functions
        for part in (node.returns, *(argument.annotation for argument in [*node.args.args, *node.args.kwonlyargs]))
        if part is not None
    ]
    return {name for part in annotations for name in re.findall(r"\w+", ast.unparse(part))}


def test_nothing_below_runs_takes_the_whole_configuration() -> None:
    found = {path for path, tree in sources("mmnar_lightning") if "ExperimentConfig" in names_in_signatures(tree)}
    assert found, "the search finds those that may"
    assert not [str(path) for path in found if path.parts[1] not in WHOLE]


def test_every_database_of_the_project_has_the_same_rooms() -> None:
    for name in ("mimic_iv", "eicu"):
        files = {path.stem for path in (ROOT / "data_modules" / "databases" / name).glob("*.py")}
        assert files >= ROOMS, name


def test_every_settings_class_lives_in_a_file_that_imports_neither_torch_nor_polars() -> None:
    seen = 0
    for path, tree in sources(*PACKAGES):
        classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("Config")]
        if not classes:
            continue
        module = importlib.import_module(".".join(path.with_suffix("").parts))
        assert all(is_dataclass(getattr(module, name)) for name in classes)
        imported = {
            (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert not imported & {"torch", "polars", "lightning", "numpy"}, path
        seen += len(classes)
    assert seen > 20


def test_no_file_of_the_program_is_long() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path, _ in sources(*PACKAGES)}
    assert not {path: length for path, length in lengths.items() if length > 360}


def test_the_words_of_the_project_are_those_of_the_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert words.main([]) == 0
    monkeypatch.setattr(words, "ROOT", tmp_path)
    (tmp_path / "one.md").write_text("A person is told what to mend.\nThe rest is fine.\n")
    assert [line.split(": ", 1)[1].split(";")[0] for line in words.found([tmp_path / "one.md"])] == ["'told'", "'mend'"]
