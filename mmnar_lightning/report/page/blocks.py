"""What a section of the page consists of; templates/page.html writes each block, and escapes every text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Note:
    """A paragraph that a reader must not miss."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    kind: ClassVar[str] = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Tiles:
    """Few numbers of great importance: name, number, and a remark."""

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Listing:
    """Sentences, one below the other."""

    kind: ClassVar[str] = "listing"
    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Text for a computer; with a summary it is folded."""

    kind: ClassVar[str] = "code"
    text: str
    summary: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption, a line of column names, and a name at the start of every row.

    Attributes:
        caption: what it shows.
        header: names of the columns.
        rows: as many texts each.
        prose: whether its cells are sentences, not numbers.
        folded: whether it is shown on request only.
    """

    kind: ClassVar[str] = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        title: its caption.
        svg: from `drawing.inline`.
        is_wide: whether it takes the whole width, and scrolls on a narrow screen.
    """

    title: str
    svg: Markup
    is_wide: bool = False


@dataclass(frozen=True)
class Pictures:
    """Figures beside each other, as many as fit."""

    kind: ClassVar[str] = "pictures"
    pictures: Sequence[Picture]


Block = Text | Note | Heading | Facts | Tiles | Listing | Code | Table | Pictures


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        name: its anchor.
        title: its heading.
        blocks: from top to bottom.
    """

    name: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
