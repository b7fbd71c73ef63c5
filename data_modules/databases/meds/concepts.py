"""The mapping of codes to modalities: a YAML file of the user's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from data_modules.errors import UserError
from data_modules.vocabulary import Modality

Summary = "events", "codes", "documents"
"""What becomes of the events of a modality: numeric summaries of each code, an indicator of each code, or texts."""
KEYS = ("codes", "matches", "kind")


@dataclass(frozen=True, kw_only=True)
class Group:
    """A modality: some codes, and what becomes of their events.

    Attributes:
        name: of the modality.
        codes: beginnings of codes.
        matches: regular expressions of whole codes.
        kind: one of `Summary`.
    """

    name: str
    codes: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    kind: str = "events"

    def __post_init__(self) -> None:
        """Refuse groups without codes, and unknown kinds."""
        Modality(name=self.name, kind="table")
        if not self.codes and not self.matches:
            raise UserError(f"cohort.mapping: {self.name} needs codes (beginnings) or matches (regular expressions)")
        if self.kind not in Summary:
            raise UserError(f"cohort.mapping: {self.name}.kind={self.kind!r} is not one of {', '.join(Summary)}")
        for pattern in self.matches:
            _check_pattern(self.name, pattern)

    def includes(self, code: str = "code") -> pl.Expr:
        """Whether the code of an event belongs to the modality.

        Args:
            code: column.

        Returns:
            Boolean.

        >>> group = Group(name="labs", codes=("LAB//",), matches=("VITAL//(HR|RR)",))
        >>> codes = pl.DataFrame({"code": ["LAB//50912", "VITAL//HR", "VITAL//HR//x", "MY LAB//1"]})
        >>> codes.select(group.includes()).to_series().to_list()
        [True, True, False, False]
        """
        whole = pl.col(code)
        begins = [whole.str.starts_with(prefix) for prefix in self.codes]
        return pl.any_horizontal(*begins, *(whole.str.contains(f"^(?:{pattern})$") for pattern in self.matches))

    def to_dict(self) -> dict[str, Any]:
        """The group as plain values."""
        return {"name": self.name, "kind": self.kind, "codes": list(self.codes), "matches": list(self.matches)}


def _check_pattern(name: str, pattern: str) -> None:
    try:
        pl.select(pl.lit("").str.contains(f"^(?:{pattern})$"))
    except pl.exceptions.PolarsError:
        raise UserError(f"cohort.mapping: {name}.matches has {pattern!r}, which is no regular expression") from None


def read_mapping(path: Path, chosen: Sequence[str] = ()) -> list[Group]:
    """Read a mapping.

    Args:
        path: of the YAML file: modality -> `codes`, `matches`, `kind`.
        chosen: names of the modalities to use, in their order; empty uses all.

    Returns:
        The groups.

    Raises:
        UserError: if the file is missing, is not of this form, or lacks a chosen modality.
    """
    if not path.is_file():
        raise UserError(f"cohort.mapping={path}: this file does not exist; write one as docs/meds.md shows")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UserError(f"cohort.mapping={path}: this file is not readable as YAML") from None
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"cohort.mapping={path}: expected modality: {{codes: [...], kind: events}}, one a line")
    groups = {str(name): _group(str(name), entry) for name, entry in content.items()}
    unknown = [name for name in chosen if name not in groups]
    if unknown:
        raise UserError(f"cohort.modalities: {', '.join(unknown)} is not in {path}, which has {', '.join(groups)}")
    return [groups[name] for name in chosen or groups]


def _group(name: str, entry: Any) -> Group:
    if not isinstance(entry, Mapping) or set(entry) - set(KEYS):
        raise UserError(f"cohort.mapping: {name} must have some of the keys {', '.join(KEYS)}, and no others")
    lists = {key: entry.get(key, []) for key in ("codes", "matches")}
    for key, texts in lists.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
            raise UserError(f"cohort.mapping: {name}.{key} must be a list of texts, for example [LAB//]")
    return Group(
        name=name, codes=tuple(lists["codes"]), matches=tuple(lists["matches"]), kind=str(entry.get("kind", "events"))
    )
