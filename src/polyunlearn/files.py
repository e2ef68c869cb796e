"""Writing files so that a reader never sees half of one."""

import contextlib
import errno
import json
import math
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polyunlearn.errors import UserError


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`, moved onto it when the block ends well and removed when it does not.

    A link stays one, and a file keeps its permissions. What is no file, such as /dev/stdout, is written into at the end. Raises `UserError` where the disk
    is full or the folder cannot be written.
    """
    if _is_special(target):
        with tempfile.TemporaryDirectory() as folder:
            beside = Path(folder) / "written"
            yield beside
            target.write_bytes(beside.read_bytes())
        return
    try:
        target = target.resolve() if target.is_symlink() else target
        temporary = target.parent / f".{target.name}.{secrets.token_hex(8)}.part"
        target.parent.mkdir(parents=True, exist_ok=True)
        # With the permissions of any new file of this user. `tempfile` makes private ones, and reading the umask sets it, for other threads too.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise explained(error, target) from error
    try:
        yield temporary
        if target.is_file():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        _to_disk(temporary)
        temporary.replace(target)
        _to_disk(target.parent)
    except OSError as error:
        raise explained(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path, *within: str) -> None:
    """Remove what a killed process left of files that `atomic_path` was writing, in these folders of a folder in which nothing is being written."""
    for own in within:
        for part in (folder / own).glob(".*.part"):
            part.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False  # Writing there will say why.


def _to_disk(path: Path) -> None:
    """Have what was written there outlast a power cut, where the system can; a rename could else come before the bytes."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError:
        return  # A folder cannot be opened everywhere.
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def read_utf8(path: Path) -> str:
    """Read a text file, without the mark that Windows sets before it; raises `UserError` where it is not UTF-8 or cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from error
        raise explained(error, path) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error


def write_text_atomically(target: Path, text: str) -> None:
    """Write UTF-8 text with `atomic_path`."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def finite(data: Any) -> Any:
    """Plain data with None for the numbers that JSON has not, NaN and the infinities."""
    if isinstance(data, Mapping):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def write_json_atomically(target: Path, data: Any) -> None:
    """Write plain data as JSON that a person can read, in its own script, with `atomic_path`."""
    write_text_atomically(target, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def explained(error: OSError, target: Path) -> Exception:
    """The `UserError` that names the remedy for a failed write, or the error itself where there is none to name."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{target}: no space left on the disk; free some and run the same command again (nothing half-written is left)")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"{target}: cannot be written ({error.strerror}); choose another folder or mend its permissions")
    if error.errno == errno.EISDIR:
        return UserError(f"{target}: a folder stands there; give the path of a file")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return UserError(f"{target}: a file stands where a folder is needed; choose another path")
    if error.errno == errno.ENAMETOOLONG:
        return UserError(f"{target}: the name is too long; choose a shorter one")
    return error
