"""The page of a run: complete, closed to the network, masked, escaped."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from mmnar_lightning.cli import main
from mmnar_lightning.commands.report import report
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.evaluation.results import TaskScores
from mmnar_lightning.report.page import drawing, matrix
from mmnar_lightning.runs import done
from tests.helpers.pages import CANARY, LITTLE, PATTERNS, Page, cell, levels, results, scores, write_cohort, write_run

ONE = [
    "about", "attrition", "patterns", "performance", "calibration", "decisions", "subgroups", "missingness", "training",
    "sample-size", "tripod", "repeat",
]  # fmt: skip
HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a network, of presence alone and of a regression, with their cohort; read only by what runs here."""
    place = tmp_path_factory.mktemp("pages")
    runs = place / "runs"
    write_run(runs / "mimic" / "one", results(), epochs=3)
    alone = replace(results(rectified=None, rectifier=None), experiment="mimic-mask_only", run_id="two")
    write_run(runs / "mimic-mask_only" / "two", alone, "experiment=mimic,baselines/mask_only", strength=0.3)
    fitted = replace(alone, experiment="mimic-logistic_regression", run_id="three", checkpoint=None, diagnostics=None)
    words = ("experiment=mimic,baselines/logistic_regression", "embed.text.encoder=hashed_ngrams")
    write_run(runs / "mimic-logistic_regression" / "three", fitted, *words, epochs=0)
    write_cohort(place / "data", "0123456789ab")
    return place


def page_of(place: Path, *words: str) -> str:
    config = load([f"paths.runs={place / 'runs'}", f"paths.data={place / 'data'}", *words])
    return report(config).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def one(place: Path) -> str:
    return page_of(place, f"run={place / 'runs/mimic/one'}")


@pytest.fixture(scope="module")
def several(place: Path) -> str:
    runs = ["mimic/one", "mimic-mask_only/two", "mimic-logistic_regression/three"]
    return page_of(place, f"runs=[{','.join(str(place / 'runs' / run) for run in runs)}]")


@pytest.fixture(params=["one", "several"])
def text(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def test_the_page_is_well_formed_and_every_anchor_leads_somewhere(text: str) -> None:
    page = Page(text)
    assert not page.wrong
    assert len(set(page.ids)) == len(page.ids) > 50
    named = {value[1:] for value in page.values("href", "xlink:href")} | set(re.findall(r"url\(#([^)]+)\)", text))
    named |= {name for value in page.values("aria-labelledby") for name in value.split()}
    assert named <= set(page.ids)
    assert text.startswith('<!doctype html>\n<html lang="en">')
    steps = levels(page)
    assert steps[0] == 1
    assert steps.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(steps))


def test_the_title_says_what_is_compared_and_commands_are_code(one: str, several: str) -> None:
    assert "<h1>mimic: " in one
    assert "<h1>mimic compared with 2 other runs: " in several
    assert "<code>mmnar compare</code>" in several
    assert "`" not in one + several
    assert "&lt;code" not in several
    assert not re.search(r"(?<![\d.])-0\.0+(?![\d%])", re.sub(r"<svg.*?</svg>", "", several, flags=re.DOTALL))


def test_the_page_names_no_other_file_and_forbids_the_network(text: str) -> None:
    page = Page(text)
    assert not page.values("src", "srcset", "action", "data", "xmlns")
    assert all(value.startswith("#") for value in page.values("href"))
    assert not {"script", "link", "iframe", "object", "img", "base", "form"} & set(page.tags)
    assert "//" not in text.replace("</", "")
    assert "@import" not in text
    assert not set(re.findall(r"url\((?!#)[^)]*\)", text))
    policy = page.attributes[[value for _, _, value in page.attributes].index("Content-Security-Policy") + 1][2]
    assert policy.startswith("default-src 'none';")
    assert "script-src" not in policy
    assert len(text.encode()) < 5_000_000


def test_every_figure_has_a_title_and_every_table_a_caption(text: str) -> None:
    page = Page(text)
    assert page.tags["svg"] > 8
    assert page.children.count(("svg", "title")) == page.tags["svg"]
    assert page.children.count(("table", "caption")) == page.tags["table"] > 8
    assert page.children.count(("figure", "figcaption")) == page.tags["figure"]
    assert {value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")} == {"col", "row"}


def test_all_sections_are_there(one: str, several: str) -> None:
    sections = [value for tag, name, value in Page(one).attributes if (tag, name) == ("section", "id")]
    assert sections == ONE
    sections = [value for tag, name, value in Page(several).attributes if (tag, name) == ("section", "id")]
    assert sections == [*ONE[:7], "compared", *ONE[7:]]
    assert [value[1:] for value in Page(several).values("href") if value[1:] in sections] == sections


def test_figures_follow_the_readers_colours(text: str) -> None:
    assert not [colour for colour in drawing.VARIABLES if colour in text]
    assert text.count("var(--series-1)") > 10
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_nothing_that_must_stay_on_the_machine_is_on_the_page(place: Path, text: str) -> None:
    assert CANARY in (place / "runs/mimic/one/results.json").read_text()
    assert CANARY not in text
    assert str(place) not in text
    texts = Page(text).text.replace("\N{NO-BREAK SPACE}", " ")
    patterns = [f"{rows} ({positives})" for rows, positives in (PATTERNS["01"], PATTERNS["10"])]
    splits_and_rules = ["703 (151)", "583 (4)", "5,000"]
    points = ["0.7777", "+0.78", "0.432", "97%"]
    for hidden in (*patterns, *splits_and_rules, *points, "smaller ones", "315 (72)", "+0.042"):
        assert hidden not in texts, hidden
    counts = ["400 (90)", "402 (91)", "420 (95%)", "4,997", "3,000 (600)", "724 (167)"]
    for shown in (*counts, "+0.061", "0.123 (0.073 to 0.173)", "-0.31"):
        assert shown in texts, shown


def test_hostile_names_are_text(tmp_path: Path) -> None:
    tasks = {f"{HOSTILE}$x_1$": results().tasks["death"], "readmission_30d": results().tasks["death"]}
    named = {"modalities": ["a<b", "$\\frac$"], "dropped": ["<img src=x>"], "versions": {"</style>": "<b>"}}
    found = results(experiment=HOSTILE, tasks=tasks, **LITTLE, **named)
    folder = write_run(tmp_path / "runs" / "mimic" / "<i>", found)
    text = page_of(tmp_path, f"run={folder}", f"out={tmp_path}")
    page = Page(text)
    assert not page.wrong
    assert not {"script", "img", "b", "i"} & set(page.tags)
    assert HOSTILE in page.text
    assert "$x 1$" in page.text, "no formula was made of it"
    assert "$\\frac$" in page.text


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figure on pages whose text is read, or which are not written."""
    monkeypatch.setattr(drawing, "inline", lambda *_: "")


@pytest.mark.usefixtures("without_figures")
def test_a_run_without_network_epochs_rectifier_or_cohort_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "mimic" / "one", results(**LITTLE), epochs=0)
    text = Page(page_of(tmp_path, f"run={tmp_path / 'runs/mimic/one'}")).text
    for sentence in ("no rectifier", "has no epochs", "not on this machine", "Not measured in this run"):
        assert sentence in text, sentence
    assert "after the rectifier" not in text


@pytest.mark.usefixtures("without_figures")
def test_the_page_of_a_protocol_and_of_hidden_tasks_is_written(tmp_path: Path) -> None:
    rare = replace(results().tasks["death"], all=replace(results().tasks["death"].all, positives=3))
    found = results(protocol="kfold", cohort=None, tasks={"rare": rare}, **LITTLE)
    folder = write_run(tmp_path / "runs" / "mimic" / "one", found, epochs=0)
    (folder / "children.json").write_text("{}")
    text = Page(page_of(tmp_path, f"run={folder}")).text
    assert "K folds, each of which is tested once" in text
    assert "each of them has its own page" in text
    assert "rare: masked or undefined" in text


def test_where_all_patterns_are_masked_no_number_of_rows_is_below_zero() -> None:
    found = results()
    scores = found.tasks["death"]
    hidden = {label: replace(cell, count=None, positives=None) for label, cell in scores.patterns.items()}
    drawn = matrix.upset({"death": replace(scores, patterns=hidden)}, found.modalities, "upset", "Patterns")
    assert ">masked<" in drawn
    assert "\N{MINUS SIGN}" not in drawn


def test_several_runs_are_compared_in_pairs_and_presence_alone_is_named(several: str) -> None:
    text = Page(several).text
    assert "4 tests, corrected together" in text
    assert "mimic-mask_only/two reads which inputs are present and nothing else" in text
    assert "presence alone reaches 100% of what lies above chance" in text
    assert "better" in text


def test_a_task_that_a_run_hides_is_not_compared(place: Path, tmp_path: Path) -> None:
    few = TaskScores(all=cell(300, 3), patterns={"11": cell(300, 3)})
    hidden = results(**LITTLE, run_id="four", tasks={"death": few, "readmission_30d": scores()})
    folder = write_run(tmp_path / "runs" / "mimic" / "four", hidden)
    text = Page(page_of(place, f"runs=[{place / 'runs/mimic/one'},{folder}]", f"out={tmp_path}")).text
    assert "1 tests, corrected together" in text


def test_predictions_of_damaged_runs_are_not_compared(place: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs" / "mimic" / "four", results(run_id="four"))
    done.mark(folder)
    (folder / "predictions.parquet").write_bytes(b"other")
    with pytest.raises(done.DamagedRunError, match="is damaged"):
        page_of(place, f"runs=[{place / 'runs/mimic/one'},{folder}]")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run={one}", "runs=[{one},{two}]"], "were both given"),
        (["run={place}"], "has no results.public.json; `mmnar evaluate run="),
        (["runs=[{one},{one}]"], "two or more different runs"),
        (["run={one}", "privacy.min_count=50"], "shows cells from 10 rows on"),
        (["run={one}", "out={one}/config.yaml"], "cannot be written"),
    ],
)
@pytest.mark.usefixtures("without_figures")
def test_what_cannot_be_a_page_is_refused(place: Path, words: list[str], message: str) -> None:
    names = {"one": place / "runs/mimic/one", "two": place / "runs/mimic-mask_only/two", "place": place}
    with pytest.raises(ConfigError, match=re.escape(message)):
        page_of(place, *(word.format(**names) for word in words))


def test_the_newest_run_is_reported_into_out_with_the_same_bytes_each_time(
    place: Path, one: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"paths.runs={place / 'runs'}", f"paths.data={place / 'data'}"]
    assert main(["report", "experiment=mimic", *words, "out=here"]) == 0
    assert (tmp_path / "here" / "report.html").read_text(encoding="utf-8") == one
    assert "mimic/one" in one
