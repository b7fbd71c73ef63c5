"""Reads and writes TFRecord files of chest radiograph embeddings without TensorFlow.

One record per file: length (u64), its masked CRC-32C, payload, its masked CRC-32C. The payload is a
`tf.train.Example` whose feature `embedding` is a FloatList, packed or not. Format: the TensorFlow documentation
(TFRecord) and the protobuf encoding guide.
"""

import struct
from collections.abc import Iterator

import google_crc32c
import numpy as np
from numpy.typing import NDArray


def _masked_crc(content: bytes) -> int:
    crc: int = google_crc32c.value(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def encode(embedding: NDArray[np.float32], image_id: str) -> bytes:
    """Return the content of a TFRecord file with one embedding, (width,) float32.

    >>> decode(encode(np.ones(4, np.float32), "a"), width=4).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    floats = _field(2, _field(1, embedding.astype("<f4").tobytes()))
    image = _field(1, _field(1, image_id.encode()))
    entries = [
        _field(1, _field(1, name.encode()) + _field(2, feature))
        for name, feature in (("embedding", floats), ("image/id", image))
    ]
    payload = _field(1, b"".join(entries))
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", _masked_crc(length)) + payload + struct.pack("<I", _masked_crc(payload))


def decode(content: bytes, width: int) -> NDArray[np.float32] | str:
    """Read the embedding of a TFRecord file.

    Args:
        content: bytes of the file.
        width: expected number of floats.

    Returns:
        (width,) float32, or the reason why there is none, which names neither the file nor what is in it.

    >>> decode(b"something", width=4)
    'truncated'
    """
    if len(content) < 16:
        return "truncated"
    (length,) = struct.unpack_from("<Q", content)
    if len(content) < 16 + length:
        return "truncated"
    payload = content[12 : 12 + length]
    sums = struct.unpack_from("<I", content, 8)[0], struct.unpack_from("<I", content, 12 + length)[0]
    if sums != (_masked_crc(content[:8]), _masked_crc(payload)):
        return "of a wrong checksum"
    try:
        floats = _find_floats(payload)
    except (IndexError, ValueError):  # intact, but not a tf.train.Example
        floats = None
    if floats is None:
        return "without an embedding"
    return floats if len(floats) == width else f"of {len(floats)} floats in place of {width}"


def _find_floats(payload: bytes) -> NDArray[np.float32] | None:
    for _, features in _fields(payload, 1):
        for _, entry in _fields(features, 1):
            parts = dict(_fields(entry))
            if parts.get(1) == b"embedding":
                return _floats(parts.get(2, b""))
    return None


def _floats(feature: bytes) -> NDArray[np.float32] | None:
    for _, values in _fields(feature, 2):
        chunks = b"".join(content for _, content in _fields(values, 1))
        return np.frombuffer(chunks, "<f4").astype(np.float32)
    return None


def _fields(content: bytes, wanted: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the length-delimited and 32-bit (unpacked float) fields of a protobuf message."""
    position = 0
    while position < len(content):
        key, position = _read_varint(content, position)
        size, position = (4, position) if key & 7 == 5 else _read_varint(content, position)
        if wanted is None or key >> 3 == wanted:
            yield key >> 3, content[position : position + size]
        position += size


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
