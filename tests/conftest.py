"""What every test may ask for."""

import os
from pathlib import Path

import pytest

DEMO = "mimic-iv-demo"


def demo_folder(name: str) -> Path:
    """The folder of an open demo, or a skip that says where it was looked for."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    for base in filter(None, (os.environ.get("MMNAR_DEMO_DATA"), str(beside))):
        if (Path(base) / name).is_dir():
            return Path(base) / name
    pytest.skip(f"the open demo {name} is not in MMNAR_DEMO_DATA nor in {beside}")


@pytest.fixture(scope="session")
def mimic_demo() -> Path:
    """Folder of the open MIMIC-IV demo (hosp/, icu/)."""
    return demo_folder(DEMO)


@pytest.fixture(scope="session")
def mimic_demo_roots(mimic_demo: Path) -> str:
    """The demo, with its rebuilt chartevents as a second root."""
    return f"{mimic_demo}:{mimic_demo / 'reconstructed_from_meds'}"
