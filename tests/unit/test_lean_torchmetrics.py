"""How much of torchmetrics an import loads, shown on a package of the same shape, by interpreters of their own."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from mmnar_lightning import lean_torchmetrics
from mmnar_lightning.baselines import registry
from tests.helpers.paths import ROOT

PACKAGE = {
    "__init__": """
_logger, WHOLE = 1, True
from torchmetrics import utilities
from torchmetrics.metric import Metric
from torchmetrics.collections import MetricCollection
from torchmetrics import text
from torchmetrics.__about__ import __version__
""",
    "__about__": "__version__ = '1.9'",
    "utilities": "import torchmetrics.metric",
    "metric": "import torchmetrics.utilities\nclass Metric: pass",
    "collections": "from torchmetrics import _logger\nclass MetricCollection: pass",
    "text": "",
}
START = """
import sys
from mmnar_lightning import lean_torchmetrics
lean_torchmetrics.install()
assert "torchmetrics" not in sys.modules
"""
LEAN = """
from torchmetrics import Metric, MetricCollection
import torchmetrics
assert torchmetrics.__version__ == "1.9"
assert "torchmetrics.text" not in sys.modules
"""
WHOLE = """
import torchmetrics
assert "torchmetrics.text" in sys.modules
assert "_Finder" not in {type(finder).__name__ for finder in sys.meta_path}
assert torchmetrics.WHOLE is vars(torchmetrics)["WHOLE"] is True
assert not hasattr(torchmetrics, "nothing")
assert torchmetrics.__loader__ is torchmetrics.__spec__.loader
assert type(torchmetrics.__loader__).__module__ == "_frozen_importlib_external"
"""
SAME = "assert torchmetrics.Metric is Metric and torchmetrics.MetricCollection is MetricCollection\n"


@pytest.mark.parametrize(
    "program",
    {
        "nothing else is used": START + LEAN,
        "an attribute completes it": START + LEAN + "assert torchmetrics.WHOLE\n" + WHOLE + SAME,
        "an imported name completes it": START + LEAN + "from torchmetrics import text\n" + WHOLE + SAME,
        "an unknown name is none": START + LEAN + "assert not hasattr(torchmetrics, 'nothing')\n" + WHOLE + SAME,
        "completed on demand": START + LEAN + "lean_torchmetrics.complete()\n" + WHOLE + SAME,
        "completed before it is imported": START + "lean_torchmetrics.complete()\n" + WHOLE,
        "imported before": "import torchmetrics\nfrom mmnar_lightning import lean_torchmetrics\n"
        "lean_torchmetrics.install()\nimport sys\n" + WHOLE,
        "as a library": "import sys, mmnar_lightning\n" + WHOLE,
    }.items(),
    ids=lambda case: case[0],
)
def test_the_base_classes_alone_are_loaded_until_more_is_used(program: tuple[str, str], tmp_path: Path) -> None:
    for name, text in PACKAGE.items():
        (tmp_path / "torchmetrics").mkdir(exist_ok=True)
        (tmp_path / "torchmetrics" / f"{name}.py").write_text(text)
    path = f"import sys\nsys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
    done = subprocess.run([sys.executable, "-c", path + program[1]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_baseline_of_another_package_finds_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(lean_torchmetrics, "complete", lambda: order.append("completed"))
    monkeypatch.setattr(registry, "import_module", lambda name: order.append(name) or import_module(name))
    registry.find("late_fusion")
    assert order == []
    registry.find("tests.helpers.outside_baselines:Network")
    assert order == ["completed", "tests.helpers.outside_baselines"]
