"""TFRecord files: read as the format is written down, refused when a byte is wrong."""

import struct

import google_crc32c
import numpy as np
import pytest

from data_modules.databases.mimic_iv.tfrecord import decode, encode

VECTOR = np.linspace(-2, 3, 300, dtype=np.float32)


def refused(content: bytes, width: int = 300) -> str:
    reason = decode(content, width)
    assert isinstance(reason, str)
    return reason


def varint(value: int) -> bytes:
    low = value % 128
    return bytes([low]) if value < 128 else bytes([low + 128]) + varint(value // 128)


def message(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return varint(number * 8 + 2) + varint(len(content)) + content


def checksum(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)


def record(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + checksum(length) + payload + checksum(payload)


def example(**features: bytes) -> bytes:
    """A tf.train.Example: features { feature { key, value } }, a map whose order is free."""
    entries = [message(1, message(1, name.encode()) + message(2, value)) for name, value in features.items()]
    return message(1, b"".join(entries))


def floats(*chunks: np.ndarray) -> bytes:
    return message(2, b"".join(message(1, chunk.astype("<f4").tobytes()) for chunk in chunks))


def unpacked(values: np.ndarray) -> bytes:
    """A FloatList as writers before proto3 leave it: each float a 32-bit field of its own."""
    return message(2, b"".join(bytes([1 << 3 | 5]) + struct.pack("<f", value) for value in values))


def test_what_is_written_is_read_back() -> None:
    found = decode(encode(VECTOR, "a-b-c"), 300)
    assert found.dtype == np.float32
    assert np.array_equal(found, VECTOR)


def test_checksums_are_those_of_the_published_algorithm() -> None:
    """CRC-32C of "123456789" is 0xE3069283 (RFC 3720 and its test vectors)."""
    assert google_crc32c.value(b"123456789") == 0xE3069283
    assert checksum(b"123456789") == struct.pack("<I", ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32)


def test_a_record_made_by_hand_is_read_and_written_alike() -> None:
    by_hand = record(example(**{"embedding": floats(VECTOR), "image/id": message(1, message(1, b"a"))}))
    assert np.array_equal(decode(by_hand, 300), VECTOR)
    assert encode(VECTOR, "a") == by_hand


@pytest.mark.parametrize(
    "value",
    [unpacked(VECTOR), floats(VECTOR[:100], VECTOR[100:])],
    ids=["unpacked", "two packed chunks"],
)
def test_floats_are_read_however_they_were_packed(value: bytes) -> None:
    assert np.array_equal(decode(record(example(embedding=value)), 300), VECTOR)


def test_the_order_of_features_and_other_features_do_not_matter() -> None:
    """Int64List and BytesList beside it, before and after; within an entry the value may come before its key."""
    number, text = message(3, message(1, varint(70_000))), message(1, message(1, b"x" * 500))
    assert np.array_equal(decode(record(example(a=number, embedding=floats(VECTOR), z=text)), 300), VECTOR)
    turned = message(1, message(1, message(2, floats(VECTOR)) + message(1, b"embedding")))
    assert np.array_equal(decode(record(turned), 300), VECTOR)


@pytest.mark.parametrize("position", [0, 5, 8, 11, 12, 400, -5, -4, -1])
def test_one_flipped_bit_anywhere_is_noticed(position: int) -> None:
    content = bytearray(encode(VECTOR, "a"))
    content[position] ^= 1
    reported = refused(bytes(content))
    assert "checksum" in reported or "truncated" in reported


@pytest.mark.parametrize("length", [0, 1, 11, 15, 16, 200, -1])
def test_a_truncated_record_is_refused(length: int) -> None:
    assert refused(encode(VECTOR, "a")[:length]) == "truncated"


def test_another_width_is_refused_with_both_numbers() -> None:
    assert refused(encode(VECTOR, "a"), 1376) == "of 300 floats in place of 1376"


@pytest.mark.parametrize(
    "payload",
    [
        example(image=message(1, message(1, b"a"))),
        example(embedding=message(1, message(1, b"bytes"))),
        example(embedding=b""),
        example(),
        b"",
        b"not a protobuf message",
        b"\xff" * 40,
        example(embedding=message(2, message(1, b"odd"))),
    ],
    ids=["other feature", "bytes", "empty", "no feature", "nothing", "text", "endless number", "three bytes"],
)
def test_a_whole_record_without_the_embedding_is_refused(payload: bytes) -> None:
    assert refused(record(payload)) in {"without an embedding", "of 0 floats in place of 300"}
