"""The documentation site is built strictly, needs no network, and its tutorial runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

TUTORIAL = ROOT / "docs" / "site" / "tutorial.py"
RUN = f"""
import json, runpy
found = runpy.run_path({str(TUTORIAL)!r})["execute"]()
print(json.dumps([cell.get("outputs", []) for cell in found.cells]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]  # --quiet undoes --strict
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    loaded = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']?(https?:)?//[^"' >]+""")
    assert {page.name: found.group() for page in pages if (found := loaded.search(page.read_text()))} == {}


def test_the_search_finds_the_words_of_the_field(site: Path) -> None:
    pages = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    for word in ("baseline", "image", "AUROC", "evaluation.inner_folds", "load_config"):
        assert any(word in page["title"] + page["text"] for page in pages), word


def test_equations_are_rendered_and_none_is_left_as_text(site: Path) -> None:
    page = (site / "method" / "index.html").read_text()
    assert page.count("<math") >= 25
    assert not re.findall(r"\b[A-Za-zΣθπ]_\S+", re.sub(r"<(code|math)\b.*?</\1>|<[^>]*>", "", page, flags=re.DOTALL))
    assert "arithmatex" not in page
    assert "$$" not in page


def test_the_name_of_a_document_leads_to_its_page(site: Path) -> None:
    page = (site / "predict" / "index.html").read_text()
    assert re.search(r'<a href="\.\./transfer/">docs/transfer\.md</a>', page)


def test_examples_of_docstrings_are_shown_as_code(site: Path) -> None:
    page = (site / "reference" / "index.html").read_text()
    assert page.count('<span class="gp">&gt;&gt;&gt; </span>') >= 20
    assert "<blockquote>" not in page


def test_no_placeholder_is_lost_as_an_element_that_html_does_not_have(site: Path) -> None:
    found = set(re.findall(r"<(name|modality|task|column|run|file|folder|database|dataset|format)\b", _text(site)))
    assert found == set()


def _text(site: Path) -> str:
    """All pages without their code."""
    return "".join(
        re.sub(r"<(code|pre)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL) for page in site.rglob("*.html")
    )


def test_the_tutorial_runs_and_shows_what_is_stored() -> None:
    done = subprocess.run([sys.executable, "-c", RUN], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stored = [cell.get("outputs", []) for cell in json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())["cells"]]
    found = json.loads(done.stdout.splitlines()[-1])
    assert [shown(outputs) for outputs in found] == [shown(outputs) for outputs in stored]
    assert ["image/png"] in [shown(outputs) for outputs in found]


def shown(outputs: list[dict]) -> list[str]:
    """The kind of what a cell shows: a picture, or the title and the columns of a table, or the start of a line."""
    found = []
    for output in outputs:
        if "image/png" in output["data"]:
            found.append("image/png")
            continue
        lines = re.sub(r"\x1b\[[0-9;]*m", "", "".join(output["data"]["text/plain"])).splitlines()
        found += [re.sub(r"\d{8}-.*|\d\.\d+|\s+", " ", line) for line in lines[:3] if any(map(str.isalpha, line))]
    return found
