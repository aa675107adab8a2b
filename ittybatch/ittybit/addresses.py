"""Hosts of URLs."""

import httpx


def has_host(url: str) -> bool:
    """Say whether a URL names a host that can be looked up.

    A DNS name has labels of 1 to 63 characters. Of other names, HTTP clients raise errors that are
    not errors of HTTP.
    """
    try:
        parsed = httpx.URL(url)
        # Reading `host` decodes it; the codec checks the length of the labels.
        return bool(parsed.host and parsed.raw_host.decode().encode("idna"))
    except (httpx.InvalidURL, ValueError):
        return False
