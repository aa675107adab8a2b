"""Push whole media libraries through Ittybit with Prefect.

From Python:

    from ittybatch import BatchOptions, BucketSource, run_batch

    summary = run_batch(BucketSource(uri="s3://media/uploads/"), profile="web")
    print(summary.id, summary.counts)

`run_batch` is a Prefect flow. Called directly it works in this process until the batch has
ended. It uses the local stack if `ittybatch up` runs in this home.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ittybatch.engine.options import BatchOptions
    from ittybatch.engine.summary import BatchFailed, BatchStopped, BatchSummary
    from ittybatch.flows.run_batch import run_batch
    from ittybatch.sources import (
        BucketSource,
        FailedJobsSource,
        InventorySource,
        ManifestSource,
        QueueSource,
        SqlSource,
    )

__version__ = "0.2.0"
__all__ = [
    "BatchFailed",
    "BatchOptions",
    "BatchStopped",
    "BatchSummary",
    "BucketSource",
    "FailedJobsSource",
    "InventorySource",
    "ManifestSource",
    "QueueSource",
    "SqlSource",
    "run_batch",
]

_MODULES = {
    "BatchFailed": "engine.summary",
    "BatchOptions": "engine.options",
    "BatchStopped": "engine.summary",
    "BatchSummary": "engine.summary",
    "run_batch": "flows.run_batch",
}


def __getattr__(name: str) -> object:
    """Import what is asked for, so that a leg's process does not load everything."""
    if name not in __all__:
        raise AttributeError(f"module 'ittybatch' has no attribute {name!r}")
    if name == "run_batch":
        import_module("ittybatch.engine.local_stack").join_local_stack()
    module = import_module(f"ittybatch.{_MODULES.get(name, 'sources')}")
    found: object = getattr(module, name)
    return found
