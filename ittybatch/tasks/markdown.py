"""Format Markdown for artifacts. Keys, rows and error messages may contain any character."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote, urlsplit

# Percent signs are safe, so that encoded characters are not encoded twice.
_SAFE = ":/?#[]@!$&'()*+,;=%~"
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


def escaped(text: object) -> str:
    """Escape text so that it shows unchanged, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def code(text: object) -> str:
    """Format a path or a command as code, so that it can be copied."""
    return "`" + " ".join(str(text).split()).replace("`", "'").replace("|", "\\|") + "`"


def link(url: str) -> str:
    """Format a web address as a link labelled with its file name; only escape other addresses."""
    try:
        parts = urlsplit(url)
    except ValueError:  # for example https://[
        return escaped(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or not url.isprintable():
        return escaped(url)
    name = unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.netloc
    return f"[{escaped(name)}](<{quote(url, safe=_SAFE)}>)"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Format a table. If a title ends in `>`, its column is right-aligned."""
    lines = [
        "",
        "| " + " | ".join(title.removesuffix(">") for title in head) + " |",
        "|" + "|".join("---:" if title.endswith(">") else "---" for title in head) + "|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return lines
