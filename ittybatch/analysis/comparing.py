"""Two batches beside each other: what became of the same rendition of the same item."""

from typing import TYPE_CHECKING

from ittybatch.analysis.ledger import opened_ledger
from ittybatch.analysis.reading import read_results

if TYPE_CHECKING:
    import pandas as pd

_KEY = ["input", "rendition", "copy"]
_COMPARED = [
    *("status", "attempts", "took_s", "size_bytes", "duration_s", "width", "height"),
    *("format", "error_kind", "options"),
]


def compare(a: str, b: str = "latest") -> "pd.DataFrame":
    """Compare two batches, one row for each rendition of each item that either has.

    `only_in` is `a` or `b` for jobs that the other batch does not have, as of two profiles with
    different renditions, and missing for jobs of both. Values have the suffixes `_a` and `_b`.
    `size_change` and `took_change` are b's value by a's: 0.8 is 20 % less. `same_options` says
    whether both jobs asked for the same.

    Args:
        a: Id of a batch, a unique beginning or end of one, or `latest`.
        b: The other batch.

    Raises:
        AmbiguousBatch: A text fits no batch, or several.
        LedgerUnavailable: The database cannot be reached.
    """
    with opened_ledger() as ledger:
        left, right = (_numbered(read_results(ledger, batch)) for batch in (a, b))
    found = left.merge(right, on=_KEY, how="outer", suffixes=("_a", "_b"), indicator="only_in")
    found["only_in"] = (
        found["only_in"]
        .cat.rename_categories({"left_only": "a", "right_only": "b"})
        .cat.remove_categories("both")
    )
    found["size_change"] = _ratio(found["size_bytes_b"], found["size_bytes_a"])
    found["took_change"] = _ratio(found["took_s_b"], found["took_s_a"])
    same = found["options_a"].astype("str") == found["options_b"].astype("str")
    found["same_options"] = same & found["only_in"].isna()
    return found.drop(columns=["copy", "options_a", "options_b"]).astype({"rendition": "category"})


def _numbered(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Number the jobs of equal names: a manifest may list an item more than once."""
    chosen = frame[["input", "rendition", *_COMPARED]].astype({"rendition": "str"})
    return chosen.assign(copy=chosen.groupby(["input", "rendition"]).cumcount())


def _ratio(new: "pd.Series", old: "pd.Series") -> "pd.Series":
    new_s, old_s = (each.astype("Float64") for each in (new, old))
    return (new_s / old_s.mask(old_s == 0)).astype("float64")
