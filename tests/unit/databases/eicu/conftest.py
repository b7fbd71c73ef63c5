"""The open eICU demo."""

from pathlib import Path

import pytest

from data_modules.databases.eicu.tables import EICU
from data_modules.raw.reader import Release
from tests.conftest import demo_folder


@pytest.fixture(scope="session")
def eicu_demo() -> Path:
    """Folder of the open eICU demo."""
    return demo_folder("eicu-demo")


@pytest.fixture(scope="session")
def demo(eicu_demo_roots: str) -> Release:
    """All tables of it."""
    return Release.parse(EICU, eicu_demo_roots)
