"""Batches from Python.

    from ittybatch.api import BucketSource, run_batch

    summary = run_batch(BucketSource(uri="s3://media/uploads/"), profile="web")
    print(summary.id, summary.counts)

`run_batch` is a Prefect flow. Called directly it works in this process until the batch has
ended. It uses the local stack if `ittybatch up` runs in this home.

`run`, `results`, `batches`, `failures`, `rejects` and `compare` are those of the package itself:
`ittybatch.results("latest")` does not import Prefect.
"""

from ittybatch.engine.local_stack import join_local_stack

# Before the flow is imported: Prefect reads its settings once.
join_local_stack()

from ittybatch.analysis import batches, compare, failures, rejects, results, run  # noqa: E402
from ittybatch.engine.options import BatchOptions  # noqa: E402
from ittybatch.engine.summary import BatchFailed, BatchStopped, BatchSummary  # noqa: E402
from ittybatch.flows.run_batch import run_batch  # noqa: E402
from ittybatch.sources import (  # noqa: E402
    BucketSource,
    FailedJobsSource,
    InventorySource,
    ManifestSource,
    QueueSource,
    SqlSource,
)

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
    "batches",
    "compare",
    "failures",
    "rejects",
    "results",
    "run",
    "run_batch",
]
