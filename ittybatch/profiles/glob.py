"""Shell patterns over keys."""

import fnmatch
import re
from functools import lru_cache


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def glob_matches(pattern: str, path: str) -> bool:
    """Say whether a path fits a shell pattern, minding case.

    Args:
        pattern: `*`, `?` and `[...]`. Without a slash it is held against the file name
            alone; with one, against the whole path, where `*` crosses slashes as well.
        path: Slash-separated, without a leading slash.
    """
    subject = path if "/" in pattern else path.rpartition("/")[2]
    return _compiled(pattern).match(subject) is not None
