"""Bytes that are sure to be others than before, whatever they were."""


def last_bit_flipped(data: bytes) -> bytes:
    """`data` with another last byte. A byte put in its place would be the same one time in 256."""
    return data[:-1] + bytes([data[-1] ^ 1])
