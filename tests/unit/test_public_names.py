"""The names that `import mmnar_lightning` offers."""

import ast
import inspect
import re

import pytest

import mmnar_lightning
from tests.helpers.paths import ROOT


@pytest.mark.parametrize("name", mmnar_lightning.__all__)
def test_each_public_name_can_be_imported(name: str) -> None:
    assert getattr(mmnar_lightning, name).__doc__


def test_type_checkers_see_the_names_that_are_imported_when_used() -> None:
    tree = ast.parse((ROOT / "mmnar_lightning" / "__init__.py").read_text())
    typed = {
        (alias.asname, f"{node.module}", alias.name)
        for guard in tree.body
        if isinstance(guard, ast.If)
        for node in guard.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {(name, module, own) for name, (module, own) in mmnar_lightning._WHERE.items()}
    assert typed == lazy
    assert sorted(mmnar_lightning._WHERE) == sorted(mmnar_lightning.__all__)


def test_every_public_function_has_an_example_or_is_a_whole_run() -> None:
    whole_runs = {"check_baseline", "evaluate", "find_baseline", "load", "load_config", "read_results", "train"}
    functions = {name for name in mmnar_lightning.__all__ if inspect.isfunction(getattr(mmnar_lightning, name))}
    lacking = {name for name in functions if ">>>" not in (getattr(mmnar_lightning, name).__doc__ or "")}
    assert lacking == whole_runs & functions
    assert {"auroc", "bootstrap_intervals", "masked_cross_entropy"} <= functions


def test_every_public_name_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference.md").read_text()
    listed = set(re.findall(r"^::: ([\w.]+)", text, re.MULTILINE))
    missing = {
        name for name, (module, own) in mmnar_lightning._WHERE.items() if not {f"{module}.{own}", module} & listed
    }
    assert missing == set()
