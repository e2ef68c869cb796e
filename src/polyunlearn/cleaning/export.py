"""Writing an unlearned model as a standard Hugging Face folder, whole or as an adapter, in one move."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from polyunlearn.errors import UserError
from polyunlearn.files import explained
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import TrainablePlan, as_os_error, write_adapter


def check_target(out: Path, model: str) -> None:
    """Raise `UserError` where `out` is there already, or is the model's own folder: nothing is ever written over."""
    if out.exists() and Path(model).exists() and out.samefile(model):
        raise UserError(f"{out}: is the model itself, which is never written over; give another --out")
    if Path(model).is_dir() and out.resolve().is_relative_to(Path(model).resolve()):
        raise UserError(f"{out}: lies in the model's own folder, which is never written to; give another --out")
    if out.exists():
        raise UserError(f"{out}: is there already; remove it, or give another --out")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, which becomes it when the block ends well and is removed when it does not."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    except OSError as error:
        raise explained(error, out) from error
    try:
        yield made
        made.chmod(0o755)
        # safetensors writes files that nobody else may read.
        for file in made.rglob("*"):
            if file.is_file():
                file.chmod(file.stat().st_mode | 0o044)
        made.replace(out)
    except OSError as error:
        raise explained(error, out) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def write_model(
    loaded: LoadedModel, out: Path, beside: Callable[[Path], None], *, adapter: TrainablePlan | None = None, base: str = ""
) -> None:
    """Write the model as it is now, in safetensors, with its tokeniser, and what `beside` adds to the folder; all or nothing.

    With `adapter` the low-rank adapters of that plan are written alone, as PEFT reads them, to be put on the model `base`.
    """
    with whole_folder(out) as folder:
        if adapter:
            write_adapter(loaded.model, adapter, folder, base)
        else:
            with as_os_error():
                loaded.model.save_pretrained(folder, safe_serialization=True)
        loaded.encoder.tokenizer.save_pretrained(folder)
        beside(folder)
