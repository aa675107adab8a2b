"""The words that programs write where a value is missing."""

# pandas, numpy, R, spreadsheets, and the dumps of MySQL and Postgres.
_WORDS = frozenset(
    {
        "\\N",
        "null",
        "nan",
        "nat",
        "none",
        "n/a",
        "#n/a",
        "<na>",
        "-nan",
        "(null)",
    }
)
_LONGEST = max(map(len, _WORDS))


def is_nothing(text: str) -> bool:
    """Say whether a whole value means that there is none."""
    return len(text) <= _LONGEST and (text == "\\N" or text.lower() in _WORDS)
