"""A ledger's batches and jobs as pandas DataFrames.

    import ittybatch

    frame = ittybatch.results("latest")
    frame.groupby("rendition", observed=True)["took_s"].describe()

Columns have the same types whatever the batch holds: numbers that may be missing are `Int64`,
times are UTC with their zone, names that repeat are categories.
"""

from ittybatch.analysis.comparing import compare
from ittybatch.analysis.reading import batches, failures, rejects, results

__all__ = ["batches", "compare", "failures", "rejects", "results"]
