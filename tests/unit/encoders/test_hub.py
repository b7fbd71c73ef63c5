"""Models of the hub are pinned by their commit and compared with what the hub stored."""

import hashlib
import logging
from pathlib import Path

import pytest

from data_modules.errors import UserError
from mmnar_lightning.encoders import hub
from mmnar_lightning.encoders.text import pretrained
from mmnar_lightning.encoders.text.config import TextConfig

COMMIT = "0123456789" * 4


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """The folder of a commit in the hub's cache: links to files that are named by their digests."""
    folder, blobs = tmp_path / "models--a--b" / "snapshots" / COMMIT, tmp_path / "models--a--b" / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    small, large = b'{"model_type": "bert"}', b"weights" * 1000
    names = {
        "config.json": (hashlib.sha1(f"blob {len(small)}\0".encode() + small).hexdigest(), small),
        "model.safetensors": (hashlib.sha256(large).hexdigest(), large),
    }
    for name, (digest, content) in names.items():
        (blobs / digest).write_bytes(content)
        (folder / name).symlink_to(blobs / digest)
    return folder


def test_files_as_the_hub_stored_them_are_accepted(snapshot: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub.verify(f"a/b@{COMMIT}", snapshot.iterdir())
    assert not caplog.records


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_differs_is_refused_by_name(name: str, snapshot: Path) -> None:
    stored = (snapshot / name).resolve()
    content = bytearray(stored.read_bytes())
    content[3] ^= 1
    stored.write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} differs from the file of a/b@.*remove .*{stored.name}"):
        hub.verify(f"a/b@{COMMIT}", sorted(snapshot.iterdir()))


def test_a_name_without_a_commit_is_loaded_with_the_commit_that_would_pin_it(
    snapshot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        hub.verify("own/unpinned", snapshot.iterdir())
        hub.verify("own/unpinned", snapshot.iterdir())
    (record,) = caplog.records
    assert f"own/unpinned@{COMMIT}" in record.getMessage()


def test_a_model_of_texts_is_fetched_at_its_commit_and_verified(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert pretrained.locate(f"a/b@{COMMIT}") == snapshot
    assert asked == [("a/b", COMMIT)]
    (snapshot / "model.safetensors").resolve().write_bytes(b"other")
    with pytest.raises(UserError, match=r"model\.safetensors differs"):
        pretrained.locate(f"a/b@{COMMIT}")


@pytest.mark.parametrize("name", ["a/b/c", "a/b@main", "a/b@0123", "../a b", f"a/b@{COMMIT}0"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="neither an existing file or folder nor a hub name"):
        hub.split(name)


def test_the_default_is_pinned() -> None:
    assert hub.split(TextConfig().model)[1]
