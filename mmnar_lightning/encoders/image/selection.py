"""Images of a cohort: which of them a row shows, their pixels as a network wants them, and which could not be read."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data_modules.errors import UserError
from data_modules.raw.errors import SourceError
from mmnar_lightning.encoders.image.config import OTHERS
from mmnar_lightning.nn.images import SMALL_SIDE

Pixels = NDArray[np.uint8]
FORMATS = ("JPEG", "PNG")
MODES = ("L", "RGB")
"""Modes of pictures that are read; any other (16 bits, CMYK, a palette) would be changed by a conversion."""
AHEAD = 4
"""Images that every thread may be ahead of the one that reads its results, unless that one asks for more."""


class ImagesError(UserError):
    """Too many images cannot be read, or a image's vector is not what it must be."""


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """What a network wants to be shown.

    Attributes:
        mode: L (grey) or RGB.
        size: height and width in pixels.
        transform: a picture of that mode -> (C, height, width) uint8.
        description: plain values that tell it from other inputs.
    """

    mode: str
    size: tuple[int, int]
    transform: Callable[[Image.Image], Tensor]
    description: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, height, width) of a image."""
        return (len(self.mode), *self.size)


@dataclass
class Unreadable:
    """Images that could not be read, listed for the person who can mend them.

    The list stays on this machine; what is printed are counts.

    Args:
        total: images that are to be read.
        max_share: of them may be unreadable.
        list_at: file of the list.
    """

    total: int
    max_share: float
    list_at: Path
    entries: list[tuple[str, str]] = field(default_factory=list)

    def add(self, file: str, reason: str) -> None:
        """Note a image."""
        self.entries.append((file, reason))

    def check(self) -> None:
        """Stop where there are too many.

        Raises:
            ImagesError: with more than the allowed share.
        """
        if len(self.entries) > self.max_share * self.total:
            self.save()
            raise ImagesError(
                f"{self.count_line()}: more than embed.image.max_unreadable_share={self.max_share}; they are listed in "
                f"{self.list_at}. Mend or download them again, or allow a larger share"
            )

    def count_line(self) -> str:
        """How many, and why; no names."""
        reasons = Counter(reason for _, reason in self.entries).most_common()
        why = ", ".join(f"{count} {reason}" for reason, count in reasons)
        return f"{len(self.entries)} of {self.total} images could not be read ({why})"

    def finish(self) -> list[str]:
        """Write the list; the line that says how many images are absent, if any.

        Raises:
            ImagesError: with more than the allowed share; not before all are noted, so that the list is whole.
        """
        self.check()
        self.save()
        if not self.entries:
            return []
        share = len(self.entries) / self.total
        return [f"{share:.1%} of its images count as absent: they could not be read ({self.list_at.name} lists them)"]

    def save(self) -> None:
        """Write the list, in the place of an older one."""
        self.list_at.unlink(missing_ok=True)
        if self.entries:
            self.list_at.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame(self.entries, schema=["file", "reason"], orient="row").write_csv(self.list_at)


def choose(images: pl.DataFrame, views: Sequence[str], most: int) -> pl.DataFrame:
    """The images that each row shows.

    Args:
        images: `row_id`, `dicom_id`, `view` (null = unknown), `hours` to the landmark, and whatever else is wanted.
        views: view positions that are read, the preferred first; `*` stands for all others.
        most: images of a row; the preferred views win, and in a view the latest.

    Returns:
        Some of the images, sorted by row, preference, and time from the latest back.

    >>> images = pl.DataFrame({"row_id": [1, 1, 1], "dicom_id": ["a", "b", "c"], "view": ["PA", "AP", "LL"],
    ...                       "hours": [-1.0, -9.0, 0.0]})
    >>> choose(images, ["AP", "PA"], 2)["dicom_id"].to_list()
    ['b', 'a']
    >>> choose(images, ["LL", "*"], 2)["dicom_id"].to_list()
    ['c', 'a']
    """
    rank = {view: position for position, view in enumerate(views)}
    preference = pl.col("view").replace_strict(rank, default=rank.get(OTHERS), return_dtype=pl.Int32)
    return (
        images.with_columns(preference=preference)
        .filter(pl.col("preference").is_not_null())
        .sort("row_id", "preference", "hours", "dicom_id", descending=[False, False, True, False])
        .group_by("row_id", maintain_order=True)
        .head(most)
        .drop("preference")
    )


def small_input() -> ImageInput:
    """What the small network reads: the whole image, grey, as a square."""
    from torchvision.transforms import v2  # type: ignore[import-untyped]

    size = (SMALL_SIDE, SMALL_SIDE)
    transform = v2.Compose([v2.Resize(size), v2.PILToTensor()])
    return ImageInput(mode="L", size=size, transform=transform, description=f"L {size} bilinear")


def read_image(path: Path, image_input: ImageInput) -> Pixels | str:
    """The pixels of a image, (C, H, W) uint8, or why there are none.

    Raises:
        SourceError: for a file that cannot be reached: that may pass, so the image must not count as unreadable.
    """
    try:
        if not path.stat().st_size:
            return "empty"
        with Image.open(path, formats=FORMATS) as picture:
            if picture.mode not in MODES:
                return f"of mode {picture.mode}"
            return image_input.transform(picture.convert(image_input.mode)).numpy()
    except FileNotFoundError:
        return "missing"
    # Pillow raises any of these for bytes that are not a whole picture; an error of the system has a number.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreachable(path, error) from error
        return "truncated or broken"


def unreachable(path: Path, error: OSError) -> SourceError:
    """What to say of a image that the system does not give."""
    problem = f"this image cannot be read ({error.strerror or error})"
    return SourceError(path, problem, "give yourself read permission on it, or wait for its disk, and start again")


def read_images(
    paths: Sequence[Path], image_input: ImageInput, num_workers: int, ahead: int = 0
) -> Iterator[Pixels | str]:
    """`read_image` of each path, in order; threads work ahead, since Pillow decodes and resizes without the GIL.

    Args:
        paths: of the images.
        image_input: what the network wants.
        num_workers: threads; 0 = none.
        ahead: images that may wait to be taken; at least a few for each thread.
    """
    if not num_workers:
        yield from (read_image(path, image_input) for path in paths)
        return
    waiting: deque[Future[Pixels | str]] = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        for path in paths:
            waiting.append(pool.submit(read_image, path, image_input))
            if len(waiting) > max(ahead, AHEAD * num_workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
