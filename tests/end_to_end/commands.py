"""Commands as a user types them, run in this process: a new one would import torch and transformers again, which takes longer than most of what they do."""

import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from unittest.mock import patch

from polyunlearn.cli import main


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def command(*arguments: str) -> Done:
    """`polyunlearn` with these arguments."""
    out, err, code = StringIO(), StringIO(), 0
    with patch.object(sys, "argv", ["polyunlearn", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Done(code, out.getvalue(), err.getvalue())
