"""The scripts of benchmarks/, which are no package, as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", Path(__file__).parents[2] / "benchmarks" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
