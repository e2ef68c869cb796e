"""Atomic writing: a reader sees the old file or the whole new one, and a failure leaves nothing behind."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyunlearn.errors import UserError
from polyunlearn.files import atomic_path, explained, read_utf8, write_text_atomically


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(text=st.text(alphabet=st.characters(blacklist_categories=["Cs"], blacklist_characters="\r")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_text_in_any_script_is_read_back_as_written(tmp_path: Path, text: str) -> None:
    target = tmp_path / "text.txt"
    write_text_atomically(target, text)
    assert target.read_bytes() == text.encode("utf-8")
    assert listing(tmp_path) == ["text.txt"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_the_target_is_untouched_until_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "cell.parquet"
    target.write_text("old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        # The same folder is the same file system, without which a rename is no single step.
        assert temporary.parent == target.parent
        assert temporary.suffix != ".parquet"  # a reader that looks for *.parquet must not find the half-written one
    assert target.read_text() == "new"
    assert listing(tmp_path) == ["cell.parquet"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), MemoryError()], ids=lambda error: type(error).__name__)
def test_a_failure_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "cell.parquet"
    target.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert target.read_text() == "old"
    assert listing(tmp_path) == ["cell.parquet"]


def test_two_writers_of_one_file_do_not_share_a_temporary(tmp_path: Path) -> None:
    target = tmp_path / "cell.parquet"
    with atomic_path(target) as first, atomic_path(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # the outer block ends last
    assert listing(tmp_path) == ["cell.parquet"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_at_the_rename_is_a_users_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    target = tmp_path / "cell.parquet"
    target.write_text("old")

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError) as caught:
        write_text_atomically(target, "new")
    assert str(target) in str(caught.value)
    assert "no space left" in str(caught.value) and "run the same command again" in str(caught.value)
    assert target.read_text() == "old"
    assert listing(tmp_path) == ["cell.parquet"]


def test_a_full_disk_in_the_middle_of_writing_is_a_users_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_then_full(self: Path, text: str, **_: object) -> int:
        self.write_bytes(text.encode()[: len(text) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", half_then_full)
    with pytest.raises(UserError, match="no space left"):
        write_text_atomically(tmp_path / "new.txt", "twelve bytes")
    assert listing(tmp_path) == []


def test_a_full_disk_before_the_first_byte_is_a_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(UserError, match="no space left"):
        write_text_atomically(tmp_path / "new.txt", "x")
    assert listing(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_may_not_be_written_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(UserError) as caught:
        write_text_atomically(tmp_path / "new.txt", "x")
    assert os.strerror(number) in str(caught.value)
    assert "choose another folder or mend its permissions" in str(caught.value)


@pytest.mark.parametrize("below", ["out.txt", "deeper/out.txt"])
def test_a_file_where_a_folder_is_needed_is_a_users_error(tmp_path: Path, below: str) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UserError, match="choose another path"):
        write_text_atomically(tmp_path / "taken" / below, "x")
    assert (tmp_path / "taken").read_text() == "mine"
    assert listing(tmp_path) == ["taken"]


def test_a_folder_where_the_file_should_go_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="taken"):
        write_text_atomically(tmp_path / "taken", "x")
    assert listing(tmp_path) == ["taken"]


def test_an_error_without_a_remedy_stays_what_it_was(tmp_path: Path) -> None:
    # A failing disk is no mistake of the user's, so its traceback must not be hidden.
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    assert explained(error, tmp_path) is error


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664)])
def test_a_written_file_has_the_permissions_of_any_other_new_file(tmp_path: Path, umask: int, mode: int) -> None:
    # 0666 less the umask: colleagues on a shared disk must be able to read a study's rows and report.
    before = os.umask(umask)
    try:
        write_text_atomically(tmp_path / "report.html", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == mode


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    private, link = tmp_path / "private.json", tmp_path / "link.json"
    private.write_text("old")
    private.chmod(0o600)
    link.symlink_to(private)
    write_text_atomically(link, "new")
    assert link.is_symlink() and private.read_text() == "new" and stat.S_IMODE(private.stat().st_mode) == 0o600


def test_what_is_no_file_is_written_into(tmp_path: Path) -> None:
    """A pipe, or /dev/stdout: replaced by a file it would be lost to others."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = list[str]()
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text_atomically(pipe, "told")
    reader.join(10)
    assert read == ["told"] and stat.S_ISFIFO(pipe.stat().st_mode) and list(tmp_path.iterdir()) == [pipe]


def test_a_name_that_is_too_long_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the name is too long"):
        write_text_atomically(tmp_path / ("x" * 300), "")
    with pytest.raises(UserError, match="the name is too long"):
        read_utf8(tmp_path / ("x" * 300))


def test_writing_does_not_touch_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of all threads: a file that another one makes meanwhile would be open to everybody."""
    set_to = list[int]()
    monkeypatch.setattr(os, "umask", lambda mask: set_to.append(mask) or 0)
    write_text_atomically(tmp_path / "report.html", "x")
    assert set_to == []
