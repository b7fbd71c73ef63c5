"""What a table's file may contain."""

from pathlib import Path

import pytest

from mmnar_lightning.tables import declared
from mmnar_lightning.tables.declared import TableError, find, parse, read
from tests.helpers.paths import ROOT
from tests.helpers.tables import DECLARED

SHIPPED = sorted((ROOT / "experiments" / "tables").glob("*.yaml"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fold": 3}, "fold: unknown key; known are name, cohorts"),
        ({"cohorts": {}}, "cohorts: expected at least one"),
        ({"cohorts": {"a/b": "custom"}}, "cohorts.a/b: expected a name of letters"),
        ({"cohorts": {"own": {"words": []}}}, "cohorts.own: a key is missing, of experiment"),
        ({"cohorts": {"own": {"experiment": "custom", "simulated": "no"}}}, "simulated=no: expected true or false"),
        ({"cohorts": {"own": {"experiment": "custom", "folds": 1}}}, "cohorts.own.folds=1: expected 2 or more"),
        ({"methods": {"baselines": "some"}}, "methods.baselines=some: expected all"),
        ({"methods": None}, "methods: expected keys and values"),
        ({"family": {"reference": "trees"}}, "family.reference=trees: expected one of the methods that the file names"),
        (
            {"family": {"reference": "presence", "together": "all"}},
            "family.together=all: expected one of table, cohort",
        ),
        (
            {"methods": {**DECLARED["methods"], "both": {"mean": ["presence", "trees"], "words": ["seed=1"]}}},
            "methods.both.mean: it trains nothing",
        ),
        ({"seeds": [1, 1]}, "seeds=[1, 1]: expected different numbers"),
        ({"seeds": ["a"]}, "seeds=a: expected a whole number"),
        ({"folds": 1}, "folds=1: expected 2 or more"),
        ({"words": [1]}, "words: expected a list of texts"),
        ({"trials": {"presence": []}}, "trials.presence: expected a list with the words of each trial"),
        ({"trials": {"presence": [["a=1"], ["a=2"]]}}, "inner_folds=0: a trial is chosen on the held-out rows"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_key(changed, said: str) -> None:
    with pytest.raises(TableError) as caught:
        parse({**DECLARED, **changed}, "small")
    assert said in str(caught.value)


def test_a_file_is_found_by_name_here_or_in_the_program_and_by_its_path(workplace: Path) -> None:
    assert find("quick") == ROOT / "experiments" / "tables" / "quick.yaml"
    own = workplace / "experiments" / "tables" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("cohorts: 3")
    assert find("mine") == own
    assert find(str(own)) == own
    with pytest.raises(TableError, match="known are demo, eicu_death, mine, paper, quick"):
        find("thine")
    with pytest.raises(TableError, match="table needs TABLE="):
        find("")
    with pytest.raises(TableError, match=r"mine.yaml: methods: expected keys and values"):
        read(own)
    own.write_text("a: [")
    with pytest.raises(TableError, match="not readable YAML"):
        read(own)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_table_is_valid_and_explained(path: Path) -> None:
    table = read(path)
    assert table.listed == (() if table.name == "eicu_death" else declared.LISTED)
    for place in ("experiments/README.md", "docs/table.md"):
        assert f"`tables/{path.name}`" in (ROOT / place).read_text(), place
