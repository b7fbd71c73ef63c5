"""Chest radiographs: grey images and embeddings that carry the readings of the image."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_modules.simulate.latent import Array

SIDE = 128
"""Pixels."""
EMBEDDING_WIDTH = 1376
"""Width of the published chest radiograph embeddings."""

_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)


def _blob(row: float, column: float, height: float, width: float) -> Array:
    return np.asarray(np.exp(-(((_ROWS - row) / height) ** 2) - ((_COLUMNS - column) / width) ** 2))


_CHEST = 0.75 - 0.5 * (_blob(0.45, 0.28, 0.38, 0.15) + _blob(0.45, 0.72, 0.38, 0.15)) + 0.1 * _blob(0.5, 0.5, 0.6, 0.05)
_PROJECTION = np.random.default_rng(1376).standard_normal((2, EMBEDDING_WIDTH)) * 0.5
_NUISANCE = np.random.default_rng(1377).standard_normal((8, EMBEDDING_WIDTH)) * 0.5


def draw_image(reading: Array, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Draw an image of the readings image/0 (opacities) and image/1 (heart size, devices), (128, 128) uint8."""
    opacity = np.clip(0.30 + 0.13 * reading[0], 0, 0.8)
    heart = np.clip(0.13 + 0.03 * reading[1], 0.06, 0.25)
    image = _CHEST + 0.35 * _blob(0.62, 0.56, 0.16, heart)
    for side in (0.28, 0.72):
        place = generator.uniform(0.45, 0.75), side + generator.uniform(-0.05, 0.05)
        image = image + opacity * generator.uniform(0.8, 1.2) * _blob(*place, 0.14, 0.09)
    if reading[1] > 0.8:
        line = np.abs(_COLUMNS - 0.45 - 0.1 * _ROWS) < 0.008
        image = np.where(line & (_ROWS < 0.5), 0.95, image)
    image = image + 0.02 * generator.standard_normal((SIDE, SIDE))
    return np.asarray(np.clip(image * 230, 0, 255), dtype=np.uint8)


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Encode a grey JPEG file."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def embeddings(readings: Array, generator: np.random.Generator, nuisance: float = 0.0) -> NDArray[np.float32]:
    """Simulate the output of a frozen network: a smooth function of the readings, plus noise.

    Args:
        readings: (N, 2) image/0 and image/1.
        generator: of the noise.
        nuisance: strength of eight directions of high variance that have nothing to do with the readings.

    Returns:
        (N, 1376) float32.
    """
    (directions,) = generator.spawn(1)
    vectors = np.tanh(readings @ _PROJECTION) + 0.5 * generator.standard_normal((len(readings), EMBEDDING_WIDTH))
    if nuisance > 0:
        vectors += nuisance * (directions.standard_normal((len(readings), len(_NUISANCE))) @ _NUISANCE)
    return np.asarray(vectors, dtype=np.float32)
