"""Recognises requests that another website makes a viewer's browser send (CSRF).

The rules are those of `CrossOriginProtection` in Go's net/http, which needs neither a token nor a
session. A password does not help: a browser adds it to requests from other sites.
"""

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_cross_site_write(connection: HTTPConnection) -> bool:
    """Whether a request may change something, and comes from another site's page."""
    if connection.scope["method"] in _SAFE_METHODS:
        return False
    fetch_site = connection.headers.get("sec-fetch-site")
    if fetch_site is not None:
        # `none`: the user typed the address. `same-site` may be another's subdomain.
        return fetch_site not in {"same-origin", "none"}
    origin = connection.headers.get("origin")
    if origin is None:
        return False  # current browsers send one of the two: this is a program
    try:
        # `null`, of a sandboxed frame, has no host.
        return urlsplit(origin).netloc != connection.headers.get("host")
    except ValueError:
        return True
