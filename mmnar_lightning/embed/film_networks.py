"""Films through a network: a frozen one, once, or the pixels for one that learns in the model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from data_modules import stage
from data_modules.features import store
from data_modules.items import PIXELS, STORE, RowItems
from mmnar_lightning.console import progress
from mmnar_lightning.embed.film_backbone import film_backbone, film_input, film_width
from mmnar_lightning.embed.film_encoders import FILMS_VERSION, FilmsOf, Found
from mmnar_lightning.embed.film_vectors import Floats
from mmnar_lightning.embed.films import FilmInput, Pixels, read_film, read_films, unreachable
from mmnar_lightning.embed.store import Keys, Plan, VectorStore
from mmnar_lightning.nn.images import ImageBackbone
from mmnar_lightning.nn.weights import fingerprint

BATCHES = 16
"""Batches of a unit of work: what a killed process loses at most."""


@dataclass(frozen=True)
class Pictures(FilmsOf):
    """Films as files of a release.

    Attributes:
        folder: of the release with the JPEG files.
    """

    folder: Path

    @cached_property
    def input(self) -> FilmInput:
        """What the network is shown."""
        return film_input(self.config)

    def paths(self, files: pl.Series) -> list[Path]:
        """Where films lie."""
        return [self.folder / f"{file}.jpg" for file in files]

    def known(self, source: Path, films: pl.DataFrame) -> tuple[Keys, NDArray[np.bool_]]:
        """`film_keys` of a cohort's films, stopping before the long work where too many are not there at all.

        Raises:
            FilmsError: with more than the allowed share missing or empty: the folder may be the wrong one.
        """
        keys, whole = film_keys(self.folder, films["file"])
        unreadable = self.unreadable(source, films.height)
        for file in films["file"].filter(pl.Series(~whole)):
            unreadable.add(file, "empty" if (self.folder / f"{file}.jpg").is_file() else "missing")
        unreadable.check()
        return keys, whole


@dataclass(frozen=True)
class FrozenFilms(Pictures):
    """Films through a network that does not learn; every film is read once, whichever cohort shows it.

    Attributes:
        device: where the network runs.
    """

    device: torch.device

    @cached_property
    def backbone(self) -> ImageBackbone:
        """The network."""
        return film_backbone(self.config).to(self.device)

    @cached_property
    def encoder(self) -> dict[str, Any]:
        """Plain values that tell one vector of a film from another."""
        return {
            "frozen_films": FILMS_VERSION,
            "model": self.config.model,
            "weights": fingerprint(self.backbone),
            "input": self.input.description,
            "bf16": self.config.bf16,
        }

    @property
    def identity(self) -> dict[str, Any]:
        """The network, and which films."""
        return {**self.encoder, **self.choice}

    @property
    def vectors(self) -> VectorStore:
        """The vectors of all films that this network ever read; NaN where one could not be read."""
        return VectorStore(self.data / "embeddings" / f"films-{stage.digest(self.encoder)}")

    def prepare(self, source: Path) -> None:
        """Read the films that have no vector yet."""
        films = self.films(source)
        keys, whole = self.known(source, films)
        missing = self.vectors.missing(keys[whole])
        if not len(missing):
            return
        plan = Plan(
            missing, np.arange(len(missing)), np.ones(len(missing), np.float32), self.config.batch_size * BATCHES
        )
        first = np.searchsorted(keys, missing, sorter=(order := np.argsort(keys, kind="stable")))
        files = films["file"].gather(order[first])
        with progress(f"encoding films of {source.name}", len(missing), "films") as advance:
            self.vectors.build(plan, lambda pieces: self._encode(files[pieces]), advance)

    def _encode(self, files: pl.Series) -> Floats:
        """The vectors of films, (n, width) float32; NaN where one cannot be read, which `write` counts."""
        # While the network is at a batch, the threads prepare the next one whole.
        read = read_films(self.paths(files), self.input, self.config.num_workers, 2 * self.config.batch_size)
        vectors = []
        for start in range(0, len(files), self.config.batch_size):
            shown = [next(read) for _ in files[start : start + self.config.batch_size]]
            vectors.append(self._encode_batch(shown))
        return np.concatenate(vectors)

    @torch.no_grad()
    def _encode_batch(self, shown: Sequence[Pixels | str]) -> Floats:
        nothing = np.zeros(self.input.shape, np.uint8)
        pixels = torch.from_numpy(np.stack([nothing if isinstance(film, str) else film for film in shown]))
        encoded: Floats = self.backbone({"pixels": pixels.to(self.device)}).cpu().numpy()
        encoded[[isinstance(film, str) for film in shown]] = np.nan
        return encoded

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the vectors of each row."""
        return self._write(source, rows, target, self.backbone.width, self._look_up, self._reason)

    def _look_up(self, films: pl.DataFrame) -> Found:
        keys, whole = film_keys(self.folder, films["file"])
        vectors = np.full((films.height, self.backbone.width), np.nan, np.float32)
        place = np.flatnonzero(whole)
        for block, found in self.vectors.read(keys[whole]):
            vectors[place[block]] = found
        return np.asarray(np.isfinite(vectors).all(axis=1)), vectors

    def _reason(self, file: str) -> str:
        film = read_film(self.folder / f"{file}.jpg", self.input)
        return film if isinstance(film, str) else "not finite once encoded"


@dataclass(frozen=True)
class TrainedFilms(Pictures):
    """The pixels of films, for a network that sits in the model."""

    @cached_property
    def width(self) -> int:
        """Floats of a film's vector, once the network has read it."""
        return film_width(self.config)

    @property
    def identity(self) -> dict[str, Any]:
        """Version, folder, size of the pictures, width of their vectors, and which films."""
        choice = {key: value for key, value in self.choice.items() if key != "pooling"}
        shown = {"folder": str(self.folder), "input": self.input.description, "width": self.width}
        return {"pixels": FILMS_VERSION, **shown, **choice}

    def prepare(self, source: Path) -> None:
        """Nothing: one process decodes, with as many threads as it is given."""

    def write(self, source: Path, rows: pl.DataFrame, target: Path) -> list[str]:
        """Write the pixels of each row's films, as the network wants them."""
        films = self.films(source)
        self.known(source, films)
        unreadable = self.unreadable(source, films.height)
        paths = self.paths(films["file"])
        readable = np.zeros(films.height, np.bool_)
        pixels = store.create_file(target / PIXELS, (films.height, *self.input.shape), np.uint8)
        with progress(f"decoding films of {source.name}", films.height, "films") as advance:
            for position, film in enumerate(read_films(paths, self.input, self.config.num_workers)):
                if isinstance(film, str):
                    unreadable.add(films["file"][position], film)
                else:
                    readable[position], pixels[position] = True, film
                advance(1)
        row = films["row_id"].cast(pl.Int64).to_numpy()[readable]
        RowItems.save(target, rows.height, row, np.flatnonzero(readable))
        stage.write_json(target / STORE, {"width": self.width})
        return unreadable.finish()


def film_keys(folder: Path, files: pl.Series) -> tuple[Keys, NDArray[np.bool_]]:
    """What tells each film from all others, (n,) S32, and whether there is anything to read, (n,) bool.

    A film that was mended has another size or time, and so another key; its bytes are not read for that.

    Raises:
        SourceError: for a file that cannot be reached.
    """
    keys, whole = np.zeros(len(files), "S32"), np.zeros(len(files), np.bool_)
    for position, file in enumerate(files):
        try:
            state = (folder / f"{file}.jpg").stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreachable(folder / f"{file}.jpg", error) from error
        whole[position] = state.st_size > 0
        keys[position] = hashlib.sha256(f"{file} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:32]
    return keys, whole
