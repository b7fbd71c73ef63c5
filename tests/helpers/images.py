"""Pictures and indexes of images for tests."""

from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image


def grey(seed: int, height: int = 90, width: int = 70) -> Image.Image:
    """Soft noise: what a JPEG keeps."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, format="JPEG", quality=95)
    return path


def spoil(path: Path, how: str) -> Path:
    """Make a good image one of those that releases hold."""
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "no picture":
        path.write_bytes(b"<html>not found</html>")
    elif how == "16 bits":
        buffer = BytesIO()
        Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(buffer, format="PNG")
        path.write_bytes(buffer.getvalue())
    elif how == "CMYK":
        grey(0).convert("CMYK").save(path, format="JPEG")
    else:
        path.unlink()
    return path


def index(*rows: tuple[int, str, str | None], hours: float = -1.0) -> pl.DataFrame:
    """An image index of (row_id, dicom_id, view)."""
    return pl.DataFrame(
        {
            "row_id": pl.Series([row for row, _, _ in rows], dtype=pl.UInt32),
            "dicom_id": pl.Series([name for _, name, _ in rows], dtype=pl.String),
            "view": pl.Series([view for _, _, view in rows], dtype=pl.String),
            "hours": pl.Series([hours] * len(rows), dtype=pl.Float64),
            "file": pl.Series([f"files/p10/{name}" for _, name, _ in rows], dtype=pl.String),
        }
    )
