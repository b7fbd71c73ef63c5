"""The names that `import mmnar_lightning` offers."""

import ast

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
