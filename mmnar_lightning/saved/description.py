"""model.json: what a stored model is, what it reads and what it may be used for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from data_modules import stage
from data_modules.loading.alignment import Source
from data_modules.loading.arrays import ValueScale
from data_modules.vocabulary import Kind, Modality, TaskKind
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.evaluation.cell import OPTIONAL
from mmnar_lightning.evaluation.results_json import ResultsError, from_json, to_json
from mmnar_lightning.saved import support

SCHEMA_VERSION = 1
MODEL, WEIGHTS, CARD, RESULTS = "model.json", "weights.safetensors", "README.md", "results.public.json"
"""Files of the folder."""
AGAIN = "mmnar evaluate run=..."
"""Writes the model folder again."""
RARE = "<rare {place}>"
"""Stands for a word of a vocabulary that too few subjects have; no record has it."""


@dataclass(frozen=True, kw_only=True)
class SavedModality:
    """A modality of a stored model.

    Attributes:
        name: of the modality.
        kind: as the model reads it.
        width: floats per row or item.
        columns: names of a table's columns; `<prefix>/<rare N>` for a word that too few subjects have.
        raw: whether the model reads its values as they are stored.
        map: `projection`, `bins`, or empty.
        beside: whether the additive head reads its own columns beside the mapped ones.
        unread: positions of the columns that too few subjects have; their values are read as not measured.
    """

    name: str
    kind: Kind
    width: int
    columns: list[str]
    raw: bool
    map: str
    beside: bool
    unread: list[int]

    @property
    def rare(self) -> list[int]:
        """Positions of the words that too few subjects have; no row of another cohort has them."""
        return [place for place, name in enumerate(self.columns) if name.endswith("/" + RARE.format(place=place))]

    @property
    def vocabularies(self) -> dict[str, list[str]]:
        """Prefix -> the words of its columns, in their order."""
        ends = [name for name in self.columns if name.endswith(support.DISTINCT)]
        found: dict[str, list[str]] = {name.removesuffix(support.DISTINCT): [] for name in ends}
        for place in support.words_of(self.columns).nonzero()[0]:
            prefix, _, word = self.columns[place].partition("/")
            found[prefix].append(word)
        return found

    @property
    def modality(self) -> Modality:
        """The modality as models are built from it."""
        return Modality(name=self.name, kind=self.kind, width=self.width)


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of model.json.

    Attributes:
        kind: `network`, or `estimator` for a baseline that is fitted without Lightning.
        experiment: name of the experiment.
        run_id: of the run.
        dataset: name of the database, or `custom`.
        simulated: whether it was trained on simulated subjects.
        cohort: fingerprint of the cohort.
        terms: of use, which follow from the data.
        tasks: T names, in the order of the logits.
        modalities: M modalities, in the order of the pattern's bits.
        patterns: pattern ids of the cohort.
        train_patterns: pattern ids of at least `min_count` train subjects.
        min_count: fewest subjects that columns, scales, ranges, bins and words rest on (`privacy.min_count`).
        auxiliary: the trained terms among reconstruction, contrast and assignment.
        settings: of the run, as its checkpoints hold them.
        cohort_settings: of the cohort.
        inner_folds: K.
        inner_repeats: R.
        precision: of the training.
        versions: of the packages.
        schema_version: of this file.
        commit: of the program's checkout; None for an installed package.
        encoders: modality -> digest of the encoder and its settings, which names its vectors.
        usual_outside: number of values outside of their ranges that fewer than `min_count` train subjects exceed in a
            row; None in a model of an earlier version.
        scale: of tasks that are numbers, `mean` and `deviation` of the train rows, T each; None of other tasks.
    """

    kind: Literal["network", "estimator"]
    experiment: str
    run_id: str
    dataset: str
    simulated: bool
    cohort: str
    terms: str
    tasks: list[str]
    modalities: list[SavedModality]
    patterns: list[int]
    train_patterns: list[int]
    min_count: int
    auxiliary: list[str]
    settings: dict[str, Any]
    cohort_settings: dict[str, Any]
    inner_folds: int
    inner_repeats: int
    precision: str
    versions: dict[str, str]
    schema_version: int = field(default=SCHEMA_VERSION)
    commit: str | None = field(default=None, metadata=OPTIONAL)
    encoders: dict[str, str] | None = field(default=None, metadata=OPTIONAL)
    usual_outside: int | None = field(default=None, metadata=OPTIONAL)
    scale: dict[str, list[float]] | None = field(default=None, metadata=OPTIONAL)

    @property
    def task_kind(self) -> TaskKind:
        """Whether the tasks are outcomes that are yes or no, or numbers."""
        return "binary" if self.scale is None else "value"

    @property
    def value_scale(self) -> ValueScale | None:
        """How predicted numbers are brought into their units; None of other tasks."""
        if self.scale is None:
            return None
        return ValueScale(*(torch.tensor(self.scale[name], dtype=torch.float64) for name in ("mean", "deviation")))

    @property
    def names(self) -> list[str]:
        """Names of the modalities."""
        return [entry.name for entry in self.modalities]

    def save(self, folder: Path) -> None:
        """Write model.json."""
        stage.write_json(folder / MODEL, to_json(self))

    @classmethod
    def load(cls, folder: Path) -> "Description":
        """Read model.json.

        Args:
            folder: of the model.

        Returns:
            The description.

        Raises:
            SavedModelError: if the folder has none, or one that is damaged or of another version.
        """
        path = folder / MODEL
        if not path.is_file():
            raise SavedModelError(f"{folder} is no model folder: it has no {MODEL}; a finished run has one in model/")
        try:
            content = dict(stage.read_json(path))
        except (ValueError, TypeError) as error:
            raise SavedModelError(f"{path} is not readable as JSON; `{AGAIN}` writes it again") from error
        version = content.get("schema_version")
        if version != SCHEMA_VERSION:
            raise SavedModelError(
                f"{path} has schema_version={version}, but this program reads {SCHEMA_VERSION}; load it with the "
                "version of mmnar-lightning that wrote it"
            )
        try:
            return from_json(cls, content)
        except ResultsError as error:
            raise SavedModelError(f"{path} is damaged; `{AGAIN}` writes it again") from error


def source_of(description: Description, statistics: dict[str, Any]) -> Source:
    """What the model reads, for `align`.

    Args:
        description: of the model.
        statistics: modality -> mean and scale.

    Returns:
        The source.
    """
    return Source(
        tasks=description.tasks,
        modalities=[entry.modality for entry in description.modalities],
        statistics=statistics,
        columns={entry.name: _known(entry) for entry in description.modalities if entry.kind == "table"},
        raw={entry.name for entry in description.modalities if entry.raw},
    )


def _known(entry: SavedModality) -> list[str | None]:
    return [None if place in entry.rare else name for place, name in enumerate(entry.columns)]
