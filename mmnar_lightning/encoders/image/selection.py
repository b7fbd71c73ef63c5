"""Images of a cohort: selection per row, pixels in the network's input format, and unreadable files."""

import re
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
"""Image modes that are read; converting another (16 bits, CMYK, a palette) would change its values."""
_SUBJECT = re.compile(r"p\d{3,}")
"""Folder of a subject in MIMIC-CXR, files/p10/p10000032/s50414267/."""
FINER = 2
"""A larger JPEG is scaled down by 2, 4 or 8 while it is decoded, to a side of at least so many times the one needed."""
DECODED = f"decoded to {FINER}x"
"""Names this in an input format, so that pixels and vectors of another scale are not taken for it."""
AHEAD = 4
"""Images that each thread may read ahead of the consumer, unless the consumer asks for more."""


class ImagesError(UserError):
    """Too many images cannot be read, or a model does not support the settings."""


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """The input format of a network.

    Attributes:
        mode: L (grey) or RGB.
        size: height and width in pixels.
        transform: an image of that mode -> (C, height, width) uint8.
        side: pixels of the side to which `transform` resizes an image.
        description: identifies the format.
    """

    mode: str
    size: tuple[int, int]
    transform: Callable[[Image.Image], Tensor]
    side: int
    description: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, height, width) of an image."""
        return (len(self.mode), *self.size)


@dataclass
class Unreadable:
    """Images that could not be read, listed so that the user can fix them.

    The list stays on this machine; only counts are printed.

    Args:
        total: number of images to read.
        max_share: largest share that may be unreadable.
        list_at: file of the list.
    """

    total: int
    max_share: float
    list_at: Path
    entries: list[tuple[str, str]] = field(default_factory=list)

    def add(self, file: str, reason: str) -> None:
        """Add an image."""
        self.entries.append((file, reason))

    def check(self) -> None:
        """Check the number of unreadable images.

        Raises:
            ImagesError: if it is more than the allowed share.
        """
        if len(self.entries) > self.max_share * self.total:
            self.save()
            raise ImagesError(
                f"{self.count_line()}: more than embed.image.max_unreadable_share={self.max_share}; they are listed in "
                f"{self.list_at}. Fix them or download them again, or allow a larger share"
            )

    def count_line(self) -> str:
        """Counts by reason, without names."""
        reasons = Counter(reason for _, reason in self.entries).most_common()
        why = ", ".join(f"{count} {reason}" for reason, count in reasons)
        return f"{len(self.entries)} of {self.total} images could not be read ({why})"

    def finish(self) -> list[str]:
        """Check and write the complete list; too many unreadable images raise an ImagesError.

        Returns:
            A message with the share of absent images, if any.
        """
        self.check()
        self.save()
        if not self.entries:
            return []
        share = len(self.entries) / self.total
        return [f"{share:.1%} of its images count as absent: they could not be read ({self.list_at.name} lists them)"]

    def save(self) -> None:
        """Write the list, replacing an older one."""
        self.list_at.unlink(missing_ok=True)
        if self.entries:
            self.list_at.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame(self.entries, schema=["file", "reason"], orient="row").write_csv(self.list_at)


def choose(images: pl.DataFrame, views: Sequence[str], most: int) -> pl.DataFrame:
    """Select the images of each row.

    Args:
        images: `row_id`, `dicom_id`, `view` (null = unknown), `hours` to the landmark, and any other columns.
        views: view positions that are read, in order of preference; `*` stands for all others.
        most: maximum number of images of a row: preferred views first, then the latest.

    Returns:
        The selected images, sorted by row, preference and time, the latest first.

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
    """The input format of the small network: the whole image, grey, resized to a square."""
    from torchvision.transforms import v2  # type: ignore[import-untyped]

    size = (SMALL_SIDE, SMALL_SIDE)
    transform = v2.Compose([v2.Resize(size), v2.PILToTensor()])
    return ImageInput(
        mode="L", size=size, transform=transform, side=SMALL_SIDE, description=f"L {size} bilinear, {DECODED}"
    )


def read_image(path: Path, image_input: ImageInput) -> Pixels | str:
    """Read the pixels of an image.

    Args:
        path: a JPEG or PNG file.
        image_input: the input format.

    Returns:
        (C, H, W) uint8, or the reason why the image is unreadable.

    Raises:
        SourceError: if the file cannot be accessed, which may be temporary, so the image does not count as unreadable.
    """
    try:
        if not path.stat().st_size:
            return "empty"
        with Image.open(path, formats=FORMATS) as image:
            if image.mode not in MODES:
                return f"of mode {image.mode}"
            image.draft(image.mode, (FINER * image_input.side, FINER * image_input.side))
            return image_input.transform(image.convert(image_input.mode)).numpy()
    except FileNotFoundError:
        return "missing"
    # Pillow raises any of these for incomplete or corrupt files; an error of the system has an errno.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise SourceError(*inaccessible(path, error)) from None
        return "truncated or broken"


def inaccessible(path: Path, error: OSError) -> tuple[Path, str, str]:
    """Place, problem and remedy of an image that the system cannot open, for a SourceError.

    Args:
        path: of the image.
        error: of the system.

    Returns:
        The folder above those that name subject and study, the problem and the remedy.

    >>> inaccessible(Path("/cxr/files/p10/p10000032/s1/a.jpg"), PermissionError(13, "Permission denied"))[:2]
    (PosixPath('/cxr/files/p10'), 'an image in this folder cannot be read (Permission denied)')
    """
    folder = next((place.parent for place in path.parents if _SUBJECT.fullmatch(place.name)), path.parent)
    problem = f"an image in this folder cannot be read ({error.strerror or type(error).__name__})"
    remedy = "check permissions and the disk, for example with `find . ! -readable`, and run the same command again"
    return folder, problem, remedy


def read_images(
    paths: Sequence[Path], image_input: ImageInput, num_workers: int, ahead: int = 0
) -> Iterator[Pixels | str]:
    """`read_image` of each path, in order; threads read ahead, since Pillow decodes and resizes without the GIL.

    Args:
        paths: of the images.
        image_input: the input format.
        num_workers: number of threads; 0 = none.
        ahead: number of images read ahead; at least a few per thread.

    Yields:
        As `read_image` returns.
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
