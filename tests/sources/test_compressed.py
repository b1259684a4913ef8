from __future__ import annotations

import lzma
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.sources.compressed import BROKEN, COMPRESSED, decompressor_of

CONTENT = b"".join(b"line %d\n" % number for number in range(50_000))


def unpacked(data: bytes, size: int = 1 << 16) -> tuple[bytes, bool]:
    """Read an .xz file by pieces; return what came, and whether it ended well."""
    found = b""
    with decompressor_of(".xz", BytesIO(data)) as stream:
        try:
            while piece := stream.read1(size):
                found += piece
        except BROKEN:
            return found, False
    return found, True


@given(st.integers(50, 1 << 14), st.integers(1, 3), st.binary(max_size=20))
def test_xz_files_are_read_as_the_library_does(size: int, streams: int, rest: bytes) -> None:
    """One stream or several, by pieces of any size; what follows them and is none is not looked at."""
    packed = lzma.compress(CONTENT[:10_000]) * streams
    assert unpacked(packed + rest.lstrip(b"\xfd"), size) == (CONTENT[:10_000] * streams, True)


@pytest.mark.parametrize("preset", [0, 6, 9 | lzma.PRESET_EXTREME])
def test_what_xz_writes_is_read(preset: int) -> None:
    """However hard it tried."""
    assert unpacked(lzma.compress(CONTENT, preset=preset)) == (CONTENT, True)


def test_a_cut_xz_file_is_read_up_to_the_cut() -> None:
    """What came before is sound."""
    packed = lzma.compress(CONTENT)
    found, well = unpacked(packed[: len(packed) // 2])
    assert not well
    assert 10_000 < len(found) < len(CONTENT)
    assert CONTENT.startswith(found)


def test_an_xz_file_takes_no_more_memory_than_it_may() -> None:
    """A header that asks for 4 GiB is refused, in the first stream and in a later one, before it is given them."""
    packed = lzma.compress(CONTENT)
    header = bytearray(packed[12:20])  # LZMA2 alone, and a byte for the size of its dictionary
    header[4] = 40
    greedy = packed[:12] + header + zlib.crc32(header).to_bytes(4, "little") + packed[24:]
    assert unpacked(greedy) == (b"", False)
    assert unpacked(packed + greedy) == (CONTENT, False)


@pytest.mark.parametrize("suffix", COMPRESSED)
@given(content=st.binary(max_size=300))
def test_no_bytes_do_harm(suffix: str, content: bytes) -> None:
    """Whatever is no archive ends, or raises what is expected of archives."""
    with decompressor_of(suffix, BytesIO(content)) as stream:
        try:
            assert len(stream.read1(1 << 16)) <= 1 << 16
        except BROKEN:
            return
