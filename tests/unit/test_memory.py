"""Memory of the process: what is freed goes back."""

import resource
import sys
from pathlib import Path

import pytest

from polyunlearn.models.memory import give_back_freed, peak_rss_bytes

MIB = 2**20


def _held() -> int:
    """Bytes of this process in memory now."""
    file = Path("/proc/self/statm").read_text(encoding="ascii")
    return int(file.split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and asks glibc")
def test_freed_memory_goes_back_though_some_around_it_is_in_use() -> None:
    """64 MiB in blocks of 64 KiB, of which every hundredth stays: the C library keeps the rest until it is asked."""
    blocks = [bytearray(b"x") * (64 * 1024) for _ in range(1024)]
    full = _held()
    kept = blocks[::100]
    del blocks
    give_back_freed()
    assert _held() < full - 48 * MIB
    assert sum(map(len, kept)) == 11 * 64 * 1024


def test_the_peak_covers_what_was_held_for_a_moment() -> None:
    before = peak_rss_bytes()
    held = bytearray(b"x") * (before + 16 * MIB)
    del held
    assert peak_rss_bytes() >= before + 16 * MIB
