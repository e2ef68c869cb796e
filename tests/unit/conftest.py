"""What tests of several files look at, made once."""

from pathlib import Path

import pytest
from handmade_claims import CLAIMS, SETTINGS, taught

from polyunlearn.cleaning.unlearn import Cleaning, unlearn_claims
from polyunlearn.models.loading import LoadedModel


@pytest.fixture(scope="session")
def cleaned(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Cleaning, Path]:
    """A model that was taught claims and from which they were unlearned, what was found on the way, and the folder of the run."""
    loaded, work = taught(gemma_folder), tmp_path_factory.mktemp("work")
    return loaded, unlearn_claims(loaded, CLAIMS, work, SETTINGS), work
