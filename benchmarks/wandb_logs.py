"""Reads what an offline W&B run wrote: a LevelDB log of protobuf records."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # generated on import

HEADER, BLOCK, PREFIX = b":W&B", 32 * 1024, 7
FULL, LAST = 1, 4


def records(path: Path) -> Iterator[Record]:
    """Every record of a .wandb file; one may be cut over several blocks of 32 KiB."""
    content = path.read_bytes()
    assert content.startswith(HEADER), f"{path} is not a W&B file"
    place, gathered = PREFIX, bytearray()
    while place + PREFIX <= len(content):
        room = BLOCK - place % BLOCK
        if room < PREFIX:
            place += room
            continue
        length = int.from_bytes(content[place + 4 : place + 6], "little")
        kind = content[place + 6]
        if place + PREFIX + length > len(content):
            return
        gathered += content[place + PREFIX : place + PREFIX + length]
        place += PREFIX + length
        if kind in (FULL, LAST):
            yield Record.FromString(bytes(gathered))
            gathered.clear()


class OfflineRun:
    """The run of a folder, as a W&B server would come to know it.

    Attributes:
        history: one dict a logged step; the parts of a table or image are `<key>/<part>`.
        config: configuration, by key.
        run: the run record.
        summary: last values that were set in it, by key.
        best: key -> `max` or `min`, where the summary shows the best value.
        artifacts: type -> names of the files of the last one.
    """

    def __init__(self, folder: Path) -> None:
        (path,) = folder.rglob("*.wandb")
        self.folder = path.parent
        self.history: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.best: dict[str, str] = {}
        self.artifacts: dict[str, list[str]] = {}
        self.public: dict[str, Any] = {}
        self.final: dict[str, Any] | None = None
        self.texts: list[str] = []
        for record in _finished(path):
            self._add(record)

    def _add(self, record: Record) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "history":
            self.history.append(_values(record.history.item))
        elif kind == "run":
            self.run = record.run
            self.config |= _values(record.run.config.update)
        elif kind == "config":
            self.config |= _values(record.config.update)
        elif kind == "summary":
            self.summary |= _values(record.summary.update)
        elif kind == "metric" and record.metric.name and record.metric.summary.ByteSize():
            self.best[record.metric.name] = "max" if record.metric.summary.max else "min"
        elif kind == "artifact":
            names = [entry.path for entry in record.artifact.manifest.contents]
            self.artifacts[record.artifact.type] = names
        self.texts.append(str(record))

    def logged(self, key: str) -> list[Any]:
        """All values of a key, in the order of logging."""
        return [step[key] for step in self.history if key in step]

    def table(self, key: str) -> dict[str, Any]:
        """The last wandb.Table of a key: `columns` and `data`."""
        content: dict[str, Any] = json.loads(self._media(key).read_text(encoding="utf-8"))
        return content

    def image(self, key: str) -> bytes:
        """The last image of a key."""
        return self._media(key).read_bytes()

    def _media(self, key: str) -> Path:
        return self.folder / "files" / str(self.logged(f"{key}/path")[-1])


def _finished(path: Path, timeout: float = 60.0) -> list[Record]:
    """All records; W&B's own process may still be writing when `wandb.finish` returns, the last is `exit`."""
    deadline = time.monotonic() + timeout
    while True:
        found = list(records(path)) if path.stat().st_size else []
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        assert time.monotonic() < deadline, f"{path} was not finished within {timeout} s"
        time.sleep(0.05)


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
