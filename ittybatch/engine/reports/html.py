"""Text and addresses in the HTML of a report, where keys and errors may hold anything."""

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import urlsplit

_SHOWN_BLANK = "\ufffd"
# A word such as a status is not to be broken for the sake of a long key beside it.
_SHORT = 16


def shown(text: object) -> str:
    """Text that is shown as it is: nothing in it is markup, and nothing in it is unseen."""
    whole = "".join(
        character if character.isprintable() else " " if character.isspace() else _SHOWN_BLANK
        for character in str(text)
    )
    return escape(whole, quote=True)


def web_address(url: str | None) -> str | None:
    """A web address fit for an attribute; None for any other, such as `javascript:`."""
    if not url or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return escape(url, quote=True) if parts.scheme in {"http", "https"} and parts.netloc else None


def link(url: str | None, text: object) -> str:
    """A link where the address is one of the web, else the text alone."""
    address = web_address(url)
    if address is None:
        return shown(text)
    return f'<a href="{address}" rel="noopener noreferrer" target="_blank">{shown(text)}</a>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; a title that ends in `>` aligns to the right."""
    right = [title.endswith(">") for title in head]
    titles = "".join(_cell("th", title.removesuffix(">"), right[n]) for n, title in enumerate(head))
    lines = (
        "<tr>" + "".join(_cell("td", text, right[n]) for n, text in enumerate(row)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(tag: str, content: str, right: bool) -> str:
    look = "n" if right else "short" if len(content) <= _SHORT else ""
    return f'<{tag} class="{look}">{content}</{tag}>' if look else f"<{tag}>{content}</{tag}>"
