"""Settings of `mmnar table`."""

from dataclasses import dataclass, field
from typing import Literal

from data_modules.errors import UserError
from data_modules.settings import check_minima, expand_paths, path_setting


@dataclass(kw_only=True)
class TableConfig:
    """A table of methods, declared in a YAML file of experiments/tables (docs/table.md)."""

    name: str = field(default="", metadata=path_setting())
    """A name in experiments/tables, or a YAML file."""
    part: int | None = None
    """Run only this entry of the list of runs, from 0, as one job of an array; the last to finish writes the table."""
    processes: int = 1
    """Processes that share the entries which are not finished; `make table` has two."""
    source: Literal["runs", "predictions"] = "runs"
    """`runs` runs what is missing; `predictions` makes the table again from stored predictions, without training."""
    page: str = field(default="", metadata=path_setting())
    """Also write the table as a page of documentation with this name; its figure is written beside it."""

    def __post_init__(self) -> None:
        """Expand `~`; refuse a negative part, and one with several processes or where nothing is run."""
        expand_paths(self)
        check_minima(self, "table", part=0, processes=1)
        if self.part is not None and self.processes > 1:
            raise UserError(f"table.processes={self.processes} share all entries, but table.part={self.part} runs one")
        if self.part is not None and self.source == "predictions":
            raise UserError(f"table.part={self.part} runs one entry, but table.source=predictions runs none; omit one")
