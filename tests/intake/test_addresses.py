"""Requests may not name addresses of private networks, however they are spelt."""

import pytest

from ittybatch.intake.addresses import check_address, is_private
from ittybatch.intake.wanted import RequestRefused

PRIVATE = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "256.1.1.1",
    "1.2.3.4.5",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::10.0.0.1]",
    "[2002:7f00:1::]",
    "[fe80::1%25eth0]",
    "[fc00::1]",
    "[fd12::1]",
    "[fec0::1]",
    "[64:ff9b:1::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[::ffff:0:8.8.8.8]",
    "[2001:470:1::5efe:7f00:1]",
    "[2001:470:1:0:200:5efe:10.0.0.1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[100::1]",
    "[5f00::1]",
    "[ff0e::1]",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "printer.local",
    "db.internal",
    "metadata.google.internal",
    "intranet",
    "nas.lan",
    "router.home.arpa",
    "ledger.default.svc",
    "files.corp",
    "nas.home",
    "mail.private",
    "vault.service.consul",
    "127.0.0.%31",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
]
PUBLIC = [
    "example.com",
    "example.com.",
    "8.8.8.8",
    "134744072",
    "[2606:4700:4700::1111]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::8.8.8.8]",
    "[2001:470:1::5efe:808:808]",
    "bücher.example",
    "127.0.0.1.example.com",
    "localhost.example.com",
    "10.example",
    "svc.example.com",
    "homes.example",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_refused(host: str) -> None:
    """With the field, and the setting that allows it."""
    with pytest.raises(RequestRefused) as refused:
        check_address(f"https://{host}/a.mov", allow_private=False)
    assert (refused.value.status, refused.value.field) == (422, "url")


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_address_is_taken(host: str) -> None:
    """As it was given."""
    url = f"https://{host}:8443/a%20b.mov?sig=1"
    assert check_address(f" {url}\n", allow_private=False) == url


def test_a_setting_allows_private_addresses() -> None:
    """For tests, and for an Ittybit of one's own."""
    url = "http://127.0.0.1:9000/a.mov"
    assert check_address(url, allow_private=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "   ",
        "a.mov",
        "/a.mov",
        "ftp://example.com/a.mov",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///a.mov",
        "https://example.com:0/a.mov",
        "https://example.com:99999/a.mov",
        "https://exa mple.com/a.mov",
        "https://example.com\\@127.0.0.1/a.mov",
        "https://example.com/a\r\nHost: x",
        "https://[::1/a.mov",
        "https://exa\u2100mple.com/a.mov",
        f"ftp://[v1.{'a' * 300}]/a.mov",
        "https://example.com/" + "a" * 5000,
        "s3://",
        "s3://media",
        "s3://media/",
        "s3://media/folder/",
        "s3://NO SPACE/a.mov",
    ],
)
def test_what_is_no_file_is_refused(url: str) -> None:
    """Whatever it is instead."""
    with pytest.raises(RequestRefused):
        check_address(url, allow_private=True)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    """It would be stored, shown in reports and sent on."""
    with pytest.raises(RequestRefused) as refused:
        check_address("https://user:hunter2@example.com/a.mov", allow_private=True)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(RequestRefused) as refused:
        check_address("s3://KEY:hunter2@media/a.mov", allow_private=True)
    assert "hunter2" not in str(refused.value)


def test_an_object_of_a_bucket_is_taken() -> None:
    """Its key may have any character."""
    assert check_address("s3://media/a b/ü.mov", allow_private=False) == "s3://media/a b/ü.mov"


def test_a_host_is_what_counts_not_the_path() -> None:
    """An address in the path or query is just text."""
    assert not is_private("example.com")
    url = "https://example.com/?next=http://127.0.0.1/"
    assert check_address(url, allow_private=False) == url
