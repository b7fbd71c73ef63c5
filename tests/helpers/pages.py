"""Runs without any training, as folders and as the page reads them; and a reader of pages."""

import json
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmnar_lightning.config.compose import load, save
from mmnar_lightning.evaluation.breakdown import (
    DecisionCurve,
    Gap,
    LabelAvailability,
    LabelCounts,
    NetBenefit,
    Subgroups,
    SubgroupScores,
)
from mmnar_lightning.evaluation.results import (
    Cell,
    Groups,
    GroupScores,
    OffsetTable,
    Reliability,
    Results,
    Score,
    SplitCounts,
    TaskScores,
    Within,
)
from mmnar_lightning.evaluation.results_json import to_json
from mmnar_lightning.metrics.bootstrap import METRICS
from mmnar_lightning.report.public import public
from tests.helpers.results import cell_of, offset_of, results_of

CANARY = "canary-of-a-subject"
"""Of what no page may show."""
SMALL_ROWS, SMALL_POSITIVES = 23, 6
"""Of a pattern that is hidden; no other count of the page is the same."""
PATTERNS = {"11": (400, 90), "10": (301, 71), "01": (SMALL_ROWS, SMALL_POSITIVES)}
LITTLE = dict.fromkeys(
    ("rectified", "rectifier", "groups", "diagnostics", "subgroups", "net_benefit", "label_availability", "checkpoint")
)
"""What results of other tasks than those of `results` leave out."""
VOID = {"meta", "link", "br", "img", "input", "hr"}


def score(value: float, width: float = 0.05) -> Score:
    return Score(value=value, low=value - width, high=value + width, method="bootstrap", num_defined=100)


def cell(rows: int, positives: int, **others: Any) -> Cell:
    """A cell whose metrics and curve are plausible."""
    rate = positives / rows
    curve = Reliability(
        mean_probability=[0.1, 0.2, 0.4], observed_rate=[0.5 * rate, rate, 1.5 * rate], count=[rows / 3] * 3
    )
    metrics = dict.fromkeys(METRICS, to_json(score(0.7)))
    counts = {"count": rows, "positives": positives, "subjects": rows, "reliability": to_json(curve)}
    return cell_of({**metrics, **counts, **others})


def scores() -> TaskScores:
    rows, positives = map(sum, zip(*PATTERNS.values(), strict=True))
    return TaskScores(all=cell(rows, positives), patterns={name: cell(*own) for name, own in PATTERNS.items()})


def results(**others: Any) -> Results:
    """Results with a rectifier, groups, a tipping point and a hidden pattern, before they are made public."""
    tasks = {"death": scores(), "readmission_30d": scores()}
    offsets = {name: offset_of(tau=0.2, low=-0.1, high=0.5, count=90, positives=20) for name in PATTERNS}
    grouped = GroupScores(
        groups={"2011 - 2013": cell(400, 90), "2014 - 2016": cell(324, 77)},
        pooled=None,
        within=Within(groups=2, count=700, auroc=score(0.69)),
    )
    gap = Gap(higher="F", lower="M", difference=score(0.0417), num_levels=2)
    by_sex = SubgroupScores(levels={"F": cell(402, 91), "M": cell(315, 72)}, pooled=cell(7, 4), gaps={"auroc": gap})
    older = Gap(higher="18-64", lower="65+", difference=score(0.0613), num_levels=2)
    by_age = SubgroupScores(levels={"18-64": cell(419, 96), "65+": cell(305, 71)}, pooled=None, gaps={"auroc": older})
    point = NetBenefit(
        threshold=0.15, model=score(0.1234), treat_all=score(0.0765), true_positives=110, false_positives=250
    )
    few = replace(point, threshold=0.97, model=score(0.4321), true_positives=3, false_positives=1)
    decided = DecisionCurve(count=724, positives=167, points=[point, few])
    known = LabelAvailability(
        all=LabelCounts(rows=800, known=724, share=0.905),
        patterns={
            name: LabelCounts(rows=rows + 20, known=rows, share=rows / (rows + 20))
            for name, (rows, _) in PATTERNS.items()
        },
    )
    content: dict[str, Any] = {
        "experiment": "mimic",
        "run_id": "one",
        "dataset": "mimic",
        "simulated": True,
        "cohort": "0123456789ab",
        "versions": {"mimiciv": "3.1"},
        "modalities": ["structured", "cxr"],
        "split": SplitCounts(name="test", rows=724, subjects=724),
        "checkpoint": {"epoch": 1, "step": 9},
        "diagnostics": {"decision_tipping_point": {task: {"11": -0.31, "10": None, "01": 0.7777} for task in tasks}},
        "tasks": tasks,
        "rectified": tasks,
        "rectifier": {task: OffsetTable(scale="logit", strength=0.4, patterns=offsets) for task in tasks},
        "subgroups": {
            "sex": Subgroups(min_rows=10, tasks=dict.fromkeys(tasks, by_sex)),
            "age_band": Subgroups(min_rows=10, tasks=dict.fromkeys(tasks, by_age)),
        },
        "net_benefit": dict.fromkeys(tasks, decided),
        "label_availability": dict.fromkeys(tasks, known),
        "groups": Groups(by="year group", min_rows=10, tasks=dict.fromkeys(tasks, grouped)),
    }
    return results_of(**content | others)


def predictions(seed: int, strength: float) -> pl.DataFrame:
    """Rows of predictions.parquet, the same for every seed but for their logits."""
    truth = np.random.default_rng(1)
    label, noise = truth.random(300) < 0.3, np.random.default_rng((2, seed)).normal(size=300)
    columns: dict[str, Any] = {f"label/{task}": label for task in ("death", "readmission_30d")}
    columns |= {f"logit/{task}": strength * label + noise for task in ("death", "readmission_30d")}
    return pl.DataFrame({"row_id": np.arange(300), "subject_id": [f"{CANARY}-{row}" for row in range(300)], **columns})


def write_run(folder: Path, found: Results, *words: str, strength: float = 1.0, epochs: int = 3) -> Path:
    """The folder of a finished run, with canaries in what must stay on the machine."""
    folder.mkdir(parents=True)
    config = load(["experiment=mimic", f"paths.data={folder.parents[2] / 'data'}", *words])
    save(config, folder / "config.yaml")
    shown = public(found, 10)
    (folder / "results.public.json").write_text(json.dumps(to_json(shown)))
    (folder / "results.json").write_text(f'{{"{CANARY}": not JSON}}')
    predictions(epochs, strength).write_parquet(folder / "predictions.parquet")
    rows = [
        {"epoch": n, "train/loss": 2 / (n + 1), "val/loss": 1.0, "val/auroc/death": 0.6 + n / 50} for n in range(epochs)
    ]
    if rows:
        pl.DataFrame(rows).write_csv(folder / "metrics.csv")
    return folder


def write_cohort(data: Path, fingerprint: str) -> None:
    """The folder of a cohort, of which only the manifest is there; its last rule but one removes few subjects."""
    folder = data / "cohorts" / f"mimic-{fingerprint}"
    folder.mkdir(parents=True)
    left = {"admissions": 9_000, "adults": 8_003, "alive": 5_000}
    prevalence = {"train": (3_000, 600), "calibration": (703, 151), "val": (583, 4), "test": (724, 167)}
    content = {
        "attrition": [{"rule": rule, "rows": rows, "subjects": rows} for rule, rows in left.items()]
        + [{"rule": "with a landmark", "rows": 4_997, "subjects": 4_997}],
        "prevalence": {
            task: {split: {"known": known, "positive": positive} for split, (known, positive) in prevalence.items()}
            for task in ("death", "readmission_30d")
        },
        "modalities": [
            {"name": "structured", "kind": "table", "width": 786},
            {"name": "cxr", "kind": "images", "width": 0},
        ],
        "packages": {"polars": "2.0"},
        "counts": {CANARY: 1},
    }
    (folder / "manifest.json").write_text(json.dumps(content))


class Page(HTMLParser):
    """Reads a page: its tags, their attributes and ids, its texts, and what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.texts: list[str] = []
        self.children: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        self.wrong += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.children.append((self.open[-1] if self.open else "", tag))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, *names: str) -> list[str]:
        """Values of the attributes of these names."""
        return [value for _, name, value in self.attributes if name in names]

    @property
    def ids(self) -> list[str]:
        return self.values("id")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def levels(page: Page) -> list[int]:
    """Levels of the headings, in their order."""
    return [int(tag[1]) for _, tag in page.children if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit()]
