"""What others write into the URL of a MySQL database: Prisma, hosts, and Node's drivers."""

import ssl
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from sqlalchemy import URL

# Parameters of Prisma that concern its own pool.
_OF_PRISMA: Final = ("connection_limit", "pool_timeout", "socket_timeout", "statement_cache_size")
# Prisma calls the file with the server's CA so.
_PRISMAS_CA: Final = "sslcert"


class _Tls(Enum):
    """How a connection is encrypted; the names are MySQL's own."""

    DISABLED = "DISABLED"
    PREFERRED = "PREFERRED"
    REQUIRED = "REQUIRED"
    VERIFY_CA = "VERIFY_CA"
    VERIFY_IDENTITY = "VERIFY_IDENTITY"


_MODES: Final[Mapping[str, _Tls]] = {
    **{mode.value: mode for mode in _Tls},
    "DISABLE": _Tls.DISABLED,
    "PREFER": _Tls.PREFERRED,
    "REQUIRE": _Tls.REQUIRED,
    "VERIFY_FULL": _Tls.VERIFY_IDENTITY,
}
# The parameters that say how, with what each of their values means.
_PARAMETERS: Final[Mapping[str, Mapping[str, _Tls]]] = {
    **dict.fromkeys(("ssl-mode", "sslmode", "ssl_mode"), _MODES),
    "sslaccept": {"STRICT": _Tls.VERIFY_IDENTITY, "ACCEPT_INVALID_CERTS": _Tls.REQUIRED},
    "ssl": {
        "TRUE": _Tls.VERIFY_IDENTITY,
        "FALSE": _Tls.DISABLED,
        "{}": _Tls.VERIFY_IDENTITY,
        '{"REJECTUNAUTHORIZED":TRUE}': _Tls.VERIFY_IDENTITY,
        '{"REJECTUNAUTHORIZED":FALSE}': _Tls.REQUIRED,
    },
}


def as_driver(url: URL) -> tuple[URL, dict[str, Any]]:
    """Translate a URL's parameters for the driver that it names, pymysql or mysqlclient.

    Returns:
        The URL without them, and the driver's own arguments.

    Raises:
        ValueError: A parameter has a value that is not known.
        OSError: A file that a parameter names cannot be read.
    """
    mode = None
    for name, meanings in _PARAMETERS.items():
        if name in url.query:
            value = "".join(str(url.query[name]).split())
            mode = meanings.get(value.upper().replace("-", "_"))
            if mode is None:
                raise ValueError(f"the value of the parameter {name!r} is not known")
    ca = url.query.get(_PRISMAS_CA)
    url = url.difference_update_query([*_OF_PRISMA, *_PARAMETERS, _PRISMAS_CA])
    if ca is not None:
        url = url.update_query_dict({"ssl_ca": ca})
    if mode is None or mode is _Tls.PREFERRED:
        return url, {}
    if not url.drivername.endswith("+pymysql"):
        return url, {"ssl_mode": mode.value}
    return url, {} if mode is _Tls.DISABLED else {"ssl": _context(url.query, mode)}


def _context(query: Mapping[str, Any], mode: _Tls) -> ssl.SSLContext:
    """What pymysql gets: from its own parameters, it checks no host's name without a CA's file."""
    context = ssl.create_default_context(cafile=query.get("ssl_ca"))
    context.check_hostname = mode is _Tls.VERIFY_IDENTITY
    if mode is _Tls.REQUIRED:
        context.verify_mode = ssl.CERT_NONE
    if cert := query.get("ssl_cert"):
        context.load_cert_chain(cert, query.get("ssl_key"))
    return context
