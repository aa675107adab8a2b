"""Shell patterns for keys."""

import fnmatch
import re
from functools import lru_cache

# A set such as `[ab]`, in which braces and commas are literal; a brace, a comma, or `**/`.
_PARTS = re.compile(r"(\[!?\]?[^\]]*\]|[{},]|\*\*/)")
_ANY_FOLDERS = "(?:.*/)?"
_BEFORE_A_FOLDER = frozenset({"(?:", "|", _ANY_FOLDERS})


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?s:{_translated(pattern)})\\Z")


def _translated(pattern: str) -> str:
    parts = [part for part in _PARTS.split(pattern) if part]
    pairs = _pairs(parts)
    closing = set(pairs.values())
    written: list[str] = []
    plain = ""
    depth = 0
    for place, part in enumerate(parts):
        special = None
        if place in pairs:
            special, depth = "(?:", depth + 1
        elif place in closing:
            special, depth = ")", depth - 1
        elif part == "," and depth:
            special = "|"
        elif part == "**/" and _begins_a_folder(plain, written):
            special = _ANY_FOLDERS
        if special is None:
            plain += part
            continue
        written += [_shell(plain), special]
        plain = ""
    return "".join([*written, _shell(plain)])


def _begins_a_folder(plain: str, written: list[str]) -> bool:
    return plain.endswith("/") if plain else not written or written[-1] in _BEFORE_A_FOLDER


def _pairs(parts: list[str]) -> dict[int, int]:
    """Match each brace that holds a choice with its end; `{x}` is literal, as in a shell."""
    found: dict[int, int] = {}
    open_at: list[tuple[int, bool]] = []
    for place, part in enumerate(parts):
        if part == "{":
            open_at.append((place, False))
        elif part == "," and open_at:
            open_at[-1] = (open_at[-1][0], True)
        elif part == "}" and open_at:
            start, is_choice = open_at.pop()
            if is_choice:
                found[start] = place
    return found


def _shell(pattern: str) -> str:
    return fnmatch.translate(pattern).removeprefix("(?s:").removesuffix(")\\Z")


def glob_matches(pattern: str, path: str) -> bool:
    """Say whether a path matches a shell pattern; case matters.

    Args:
        pattern: `*`, `?`, `[...]`, and choices such as `{mov,mp4}`. Without a slash it is
            matched against the file name; with one, against the whole path, where `*` also
            matches slashes and `**/` matches any number of folders.
        path: Slash-separated, without a leading slash.
    """
    pattern = pattern.removeprefix("./").removeprefix("/") if "/" in pattern else pattern
    subject = path if "/" in pattern else path.rpartition("/")[2]
    return _compiled(pattern).match(subject) is not None
