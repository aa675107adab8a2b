"""For people who analyse: batches from DataFrames, and their results as DataFrames.

    import ittybatch

    summary = ittybatch.run(frame, profile="web")
    frame = ittybatch.results(summary.id)
    frame.groupby("rendition", observed=True)["took_s"].describe()

Columns have the same types whatever the batch holds: numbers that may be missing are `Int64`,
times are UTC with their zone, names that repeat are categories.
"""

from ittybatch.analysis.comparing import compare
from ittybatch.analysis.reading import batches, failures, rejects, results
from ittybatch.analysis.running import run

__all__ = ["batches", "compare", "failures", "rejects", "results", "run"]
