"""Push whole media libraries through Ittybit with Prefect.

    import ittybatch

    summary = ittybatch.run("s3://media/uploads/", profile="web")
    frame = ittybatch.results("latest")

`ittybatch.api` has these functions, the flow and its parameters. Each name is imported when it is
first used: this package is loaded at the start of every command and every flow run.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ittybatch.analysis import batches, compare, failures, rejects, results, run

__all__ = ["batches", "compare", "failures", "rejects", "results", "run"]

__version__ = "0.5.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any name of `ittybatch.analysis`
    if name in __all__:
        return getattr(importlib.import_module("ittybatch.analysis"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
