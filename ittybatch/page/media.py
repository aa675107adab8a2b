"""What a browser can show of a source or an output, and from which address.

Objects of a bucket, and web addresses with a query, are reached through a route of the page,
which redirects to a signed address: no signature is ever part of a page.
"""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from ittybatch.engine.reports.page import is_web_address
from ittybatch.ittybit.options import Kind
from ittybatch.ittybit.redaction import has_user, without_secrets
from ittybatch.profiles.item import S3_SCHEME, Item
from ittybatch.profiles.media import Media, media_of
from ittybatch.sources.s3 import is_loopback, split_uri

# A browser decodes a picture whole. Above this, it is loaded only when somebody asks for it.
MAX_PICTURE_BYTES = 20_000_000
_PLAYLIST = ".m3u8"
# Containers that no common browser plays, whatever is in them.
_UNPLAYABLE_NAMES = """
    .ac3 .alac .amr .ape .asf .au .avi .caf .dv .f4v .flv .heic .heif .jxl .m1v .m2ts .m2v .mp2
    .mpe .mpeg .mpg .mts .mxf .rm .rmvb .tif .tiff .ts .vob .wma .wmv .wv
"""
_UNPLAYABLE = frozenset(_UNPLAYABLE_NAMES.split())


class Element(StrEnum):
    """How a medium is shown: the name of the template's macro."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"
    HLS = "hls"


_BY_KIND = {
    Kind.VIDEO.value: Element.VIDEO,
    Kind.AUDIO.value: Element.AUDIO,
    Kind.IMAGE.value: Element.IMAGE,
    Kind.ANIMATION.value: Element.IMAGE,
    Kind.ADAPTIVE_VIDEO.value: Element.HLS,
}
_BY_MEDIA = {
    Media.VIDEO: Element.VIDEO,
    Media.AUDIO: Element.AUDIO,
    Media.IMAGE: Element.IMAGE,
}


@dataclass(frozen=True, slots=True)
class Medium:
    """A source or an output, as a page shows it.

    Args:
        address: Where it is, for people: without passwords and signatures.
        link: Address that opens or plays it; None if there is none that a browser may open.
        element: The element that shows it; None if no browser can, see `problem`.
        problem: Why it is not shown, in words; None if it is.
        heavy: Whether it is loaded only when somebody asks for it.
        src: Address that the element plays; None if nothing is shown.
    """

    address: str
    link: str | None = None
    element: Element | None = None
    problem: str | None = None
    heavy: bool = False
    src: str | None = None

    @property
    def shown(self) -> bool:
        """Whether the page has an element for it."""
        return self.element is not None and self.problem is None


def medium_of(
    uri: str,
    route: str,
    *,
    kind: str | None = None,
    size_bytes: int | None = None,
    secure: bool = False,
) -> Medium:
    """Decide how a source or an output is shown.

    Args:
        uri: Its address, as the ledger has it. It may come from anyone.
        route: The page's own address of it, which redirects to a signed one.
        kind: Ittybit's kind of the job that made it; None for a source, whose suffix decides.
        size_bytes: Its size, if known.
        secure: Whether the page itself is served over HTTPS.
    """
    address = _address(uri)
    if uri.startswith(S3_SCHEME):
        try:
            _, key = split_uri(uri)
        except ValueError:
            return Medium(address, problem="This is not the address of an object in a bucket.")
        if not key or key.endswith("/"):
            return Medium(address, problem="This is a folder of a bucket, not an object.")
        link = route
    elif not is_web_address(uri):
        return Medium(
            address, problem="Only s3, http and https addresses are opened; this one is not."
        )
    elif has_user(uri):
        return Medium(
            address, problem="The address contains a user name, which browsers do not accept."
        )
    else:
        parts = urlsplit(uri)
        link = route if parts.query else uri
        if secure and parts.scheme == "http" and not is_loopback(parts.hostname):
            return Medium(
                address,
                link,
                problem="This page is served over HTTPS, and the file over HTTP: browsers refuse "
                "to show it here.",
            )
    suffix = Item(uri).suffix
    element = _element(suffix, kind)
    problem = _why_not(suffix, element)
    heavy = element is Element.IMAGE and (size_bytes or 0) > MAX_PICTURE_BYTES
    src = f"{link}/playlist" if element is Element.HLS and uri.startswith(S3_SCHEME) else link
    return Medium(address, link, element, problem, heavy, None if problem else src)


def _address(uri: str) -> str:
    """The address without its password and query; what is no address is shown as it is."""
    bare = without_secrets(uri)
    return Item(bare).shown if "://" in bare else bare


def _element(suffix: str, kind: str | None) -> Element | None:
    if suffix == _PLAYLIST:
        return Element.HLS
    if kind is not None:
        return _BY_KIND.get(kind)
    media = media_of(suffix)
    return None if media is None else _BY_MEDIA[media]


def _why_not(suffix: str, element: Element | None) -> str | None:
    if suffix in _UNPLAYABLE:
        return f"No common browser shows {suffix} files."
    if element is None:
        return "The name does not say what kind of file this is."
    return None
