"""The settings that say who may open the page, and who may act on it."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

_SHORTEST_PASSWORD = 8
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# The prefixes of 10.0.0.0/8 and of fc00::/7, by the version of the protocol.
_WIDEST = {4: 8, 6: 7}
_NOT_A_USER_HEADER = frozenset(
    {
        *("accept", "authorization", "connection", "content-type", "cookie", "forwarded", "host"),
        *("origin", "referer", "user-agent", "via", "x-forwarded-for", "x-real-ip"),
    }
)


class PageSettings(BaseModel):
    """A part of `Settings`; the variables begin with `ITTYBATCH_PAGE_`."""

    page_auth: SecretStr | None = Field(
        None,
        description="user:password of the page; may act. Without any of these settings the page "
        "is for clients of this machine only.",
    )
    page_viewer_auth: SecretStr | None = Field(
        None, description="user:password of the page; may only look."
    )
    page_user_header: str | None = Field(
        None,
        description="Header in which a proxy names the user of the page, such as "
        "X-Forwarded-Email.",
    )
    # Decoded below: pydantic-settings would expect JSON.
    page_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks, separated by commas, whose proxies may send "
        "ITTYBATCH_PAGE_USER_HEADER.",
    )

    @field_validator("page_auth", "page_viewer_auth")
    @classmethod
    def _user_and_password(cls, account: SecretStr | None) -> SecretStr | None:
        # The messages repeat nothing: it is a password.
        if account is None:
            return None
        user, colon, password = account.get_secret_value().partition(":")
        if not user or not colon:
            raise ValueError("it is not a user name and a password; write it like user:password")
        if len(password) < _SHORTEST_PASSWORD:
            raise ValueError(
                f"its password has {len(password)} characters, and the minimum is "
                f"{_SHORTEST_PASSWORD}"
            )
        return account

    @field_validator("page_user_header")
    @classmethod
    def _header_name(cls, name: str | None) -> str | None:
        if name is not None and not _HEADER_NAME.fullmatch(name):
            raise ValueError("it is not the name of a header; write it like X-Forwarded-Email")
        if name is not None and name.lower() in _NOT_A_USER_HEADER:
            raise ValueError(f"clients themselves send {name}; choose a header of the proxy alone")
        return name

    @field_validator("page_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        networks = []
        for part in filter(None, (each.strip() for each in value.split(","))):
            try:
                network = ip_network(part, strict=False)
            except ValueError:
                raise ValueError(
                    f"{part!r} is not an address or a network; write it like 10.0.0.7 or "
                    "10.0.0.0/24"
                ) from None
            if network.prefixlen < _WIDEST[network.version]:
                raise ValueError(
                    f"{part} is wider than any private network, so anyone could name themselves "
                    "in ITTYBATCH_PAGE_USER_HEADER. Set it to the addresses of your proxy, such "
                    "as 10.0.0.7 or 10.0.0.0/24"
                )
            networks.append(network)
        return networks

    @model_validator(mode="after")
    def _page_is_consistent(self) -> Self:
        if self.page_user_header is not None and not self.page_proxies:
            raise ValueError(
                "ITTYBATCH_PAGE_USER_HEADER cannot be used without ITTYBATCH_PAGE_PROXIES: anyone "
                "could send the header. Set it to the addresses of your proxy"
            )
        if self.page_proxies and self.page_user_header is None:
            raise ValueError(
                "ITTYBATCH_PAGE_PROXIES cannot be used without ITTYBATCH_PAGE_USER_HEADER. Set it "
                "to the header in which the proxy names the user"
            )
        accounts = (self.page_auth, self.page_viewer_auth)
        users = [each.get_secret_value().partition(":")[0] for each in accounts if each]
        if len(set(users)) < len(users):
            raise ValueError(
                "ITTYBATCH_PAGE_AUTH and ITTYBATCH_PAGE_VIEWER_AUTH name the same user. Give them "
                "two names: the record of actions has no other"
            )
        return self
