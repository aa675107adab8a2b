"""Text in the Markdown of artifacts, where keys, rows and error messages may hold anything."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote, urlsplit

# Percent signs stay: what is encoded already must not be so twice.
_SAFE = ":/?#[]@!$&'()*+,;=%~"
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


def escaped(text: object) -> str:
    """Text that is shown as it is, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def code(text: object) -> str:
    """Text to be copied: a path, a command."""
    return "`" + " ".join(str(text).split()).replace("`", "'").replace("|", "\\|") + "`"


def link(url: str) -> str:
    """A web address as a link named for its file; any other address as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as https://[
        return escaped(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or not url.isprintable():
        return escaped(url)
    name = unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.netloc
    return f"[{escaped(name)}](<{quote(url, safe=_SAFE)}>)"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; a column whose title ends in `>` is aligned to the right."""
    lines = [
        "",
        "| " + " | ".join(title.removesuffix(">") for title in head) + " |",
        "|" + "|".join("---:" if title.endswith(">") else "---" for title in head) + "|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return lines
