"""What the page is made from: values of public files alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmnar_lightning.evaluation.results import Results


@dataclass(frozen=True, kw_only=True)
class SplitRows:
    """Rows with a known label and positives of a task in a split; None if masked."""

    rows: int | None
    positives: int | None


@dataclass(frozen=True, kw_only=True)
class CohortFacts:
    """What may be shown of a cohort.

    Attributes:
        attrition: rule, rows and subjects left after it; None if masked.
        splits: task -> split -> rows; empty where siblings would show the rest.
        kinds: modality -> kind.
        widths: modality -> columns of a table or of vectors.
        packages: package -> version that built the cohort.
    """

    attrition: Sequence[tuple[str, int | None, int | None]]
    splits: Mapping[str, Mapping[str, SplitRows]]
    kinds: Mapping[str, str]
    widths: Mapping[str, int]
    packages: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PageRun:
    """A run on the page.

    Attributes:
        name: experiment and run id, as its folder has them.
        results: of results.public.json.
        settings: of the run, nested, without folders of this machine.
        yaml: the same as YAML.
        cohort: None if its folder is not on this machine.
        epochs: epoch -> logged key -> value; empty without a network.
        packages: package -> version that trained the model; empty without a model folder.
    """

    name: str
    results: Results
    settings: Mapping[str, Any]
    yaml: str
    cohort: CohortFacts | None
    epochs: Mapping[int, Mapping[str, float]]
    packages: Mapping[str, str]

    def setting(self, key: str) -> Any:
        """The value of a full key; None if the run has no such setting."""
        found: Any = self.settings
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    @property
    def baseline(self) -> str:
        """Name of the baseline; `none` for the project's own network."""
        return str(self.setting("baseline.name"))
