"""A listing's answers: read as boto3 reads them, whatever a store's XML looks like."""

import random
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.handlers import decode_list_object_v2
from botocore.parsers import create_parser

from ittybatch.engine.bucket_checks import why_not_listed
from ittybatch.sources import BucketSource, ManifestSource, Page, SourceError, read_pages, s3
from ittybatch.sources.answer import parse_answer
from ittybatch.sources.entry import Entry, bare_etag, bare_etags
from ittybatch.sources.lanes import Lane, Lanes
from ittybatch.sources.listing import Answer
from tests.sources.manifests import WRITERS
from tests.sources.store import HEAD, Answered, Asked, Store, entry, listing

HASH = "0123456789abcdef0123456789abcdef"


def read(**fields: Any) -> list[Page]:  # noqa: ANN401 - any field
    return list(read_pages(BucketSource(uri="s3://media/", parallel=1, **fields)))


def fingerprints(pages: list[Page]) -> list[str | None]:
    return [item.fingerprint for page in pages for item in page.items]


WRITTEN = [
    f'"{HASH}-12"', f"&quot;{HASH}-12&quot;", f"&#34;{HASH}-12&#34;", f"&#x22;{HASH}-12&#x22;",
    f'<![CDATA["{HASH}-12"]]>', f"{HASH}-12", f'W/"{HASH}-12"', f"%22{HASH}-12%22",
    f'  "{HASH}-12"\n', f'"{HASH.upper()}-12"',
]  # fmt: skip


@pytest.mark.parametrize("etag", WRITTEN)
def test_an_object_has_one_identity_however_its_etag_is_written(store: Store, etag: str) -> None:
    """And whoever reads the answer: the same after an error as before it."""
    store.answer = lambda _: Answered(listing(entry("a.mov", etag)))
    assert fingerprints(read()) == [f"{HASH}-12"]
    store.answer = lambda asked: (
        Answered(b"", 503) if asked.quickly else Answered(listing(entry("a.mov", etag)))
    )
    assert fingerprints(read()) == [f"{HASH}-12"]


def test_a_tag_that_is_no_hash_keeps_its_capitals() -> None:
    """Of other texts nobody knows whether capitals mean the same."""
    assert bare_etag('"Abc"') == "Abc"
    assert bare_etag('""') is bare_etag(None) is None
    assert bare_etags([f'"{HASH}"', None, "W/x"]) == [HASH, None, "x"]
    assert bare_etags([f'"{HASH}\n{HASH}"']) == [f"{HASH}\n{HASH}"]


ALPHABET = [
    "a",
    "B",
    "7",
    " ",
    "+",
    "%",
    "%41",
    "&",
    "<",
    '"',
    "'",
    "é",
    "e\u0301",
    "日",
    "😀",
    "/",
]


def odd_answer(chance: random.Random) -> bytes:
    """An answer that XML allows and no two stores write alike."""
    url = chance.random() < 0.5
    prefix = chance.choice(["", "s3:"])
    space = f' xmlns{":s3" if prefix else ""}="{chance.choice(["http://s3/", "urn:x"])}"'
    line = chance.choice(["", "\n  ", " "])

    def element(name: str, content: str) -> str:
        return f"{line}<{prefix}{name}>{content}</{prefix}{name}>"

    def text(value: str) -> str:
        match chance.randrange(4):
            case 0 if "]]>" not in value and value:
                return f"<![CDATA[{value}]]>"
            case 1:
                return "".join(f"&#{ord(each)};" for each in value)
            case 2:
                return "".join(f"&#x{ord(each):x};" for each in value)
            case _:
                return escape(value, {'"': "&quot;"})

    def found() -> str:
        key = "".join(chance.choices(ALPHABET, k=chance.randrange(1, 9)))
        parts = [
            element("Key", text(key.replace("%", "%25").replace("+", "%2B") if url else key)),
            element("LastModified", chance.choice(TIMES)),
            element("Size", str(chance.randrange(10**12))),
            element("ETag", text(chance.choice([f'"{HASH}"', HASH, f'"{HASH}-3"', '"Odd-1"']))),
            element("StorageClass", chance.choice(["STANDARD", "GLACIER", "DEEP_ARCHIVE"])),
            element("Owner", element("ID", "1") + element("DisplayName", text(key))),
            # As MinIO lists objects with their metadata.
            element("UserMetadata", element("Key", "other.mov") + element("Size", "1")),
            element(
                "RestoreStatus",
                element("IsRestoreInProgress", chance.choice(["true", "false"]))
                + chance.choice(["", element("RestoreExpiryDate", TIMES[0])]),
            ),
        ]
        chance.shuffle(parts)
        kept = [part for part in parts if chance.random() < 0.9 or "Key>" in part]
        return element("Contents", "".join(kept))

    body = [found() for _ in range(chance.randrange(5))]
    body += [element("IsTruncated", chance.choice(["true", "false"])), element("Name", "media")]
    body += [element("EncodingType", "url")] if url else []
    chance.shuffle(body)
    head = chance.choice([HEAD, "", f"{HEAD}<!-- as it comes -->"])
    root = f"{prefix}ListBucketResult"
    return f"{head}<{root}{space}>{''.join(body)}{line}</{root}>".encode()


TIMES = ["2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05Z", "Fri, 02 Jan 2026 03:04:05 GMT"]


def test_a_thousand_odd_answers_are_read_as_boto3_reads_them() -> None:
    """In any order, with any namespace, entity, CDATA section, encoding and form of time."""
    session = botocore.session.get_session()
    model = session.get_service_model("s3").operation_model("ListObjectsV2")
    parser, shape = create_parser("rest-xml"), model.output_shape
    assert shape is not None
    objects = 0
    for seed in range(1000):
        body = odd_answer(random.Random(seed))
        told = parser.parse({"body": body, "headers": {}, "status_code": 200}, shape)
        if told.get("EncodingType") == "url":
            # What boto3 does to an answer after it is parsed.
            decode_list_object_v2(told, {"encoding_type_auto_set": True})
        parsed = parse_answer(body)
        assert parsed is not None, body
        assert parsed.more == told["IsTruncated"], body
        assert len(parsed.entries) == len(told.get("Contents", []))
        for found, theirs in zip(parsed.entries, told.get("Contents", []), strict=True):
            restore = theirs.get("RestoreStatus", {})
            readable = not restore.get("IsRestoreInProgress") and "RestoreExpiryDate" in restore
            assert found == (
                theirs["Key"],
                theirs.get("Size"),
                bare_etag(theirs.get("ETag")),
                theirs.get("LastModified"),
                theirs.get("StorageClass") in {"GLACIER", "DEEP_ARCHIVE"} and not readable,
            ), body
            objects += 1
    assert objects > 1000


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html><body>Log in</body></html>", b"<!DOCTYPE html><html></html>", b"{}",
        listing(entry("a.mov"))[:-30], b"<ListBucketsResult/>",
    ],
)  # fmt: skip
def test_an_answer_that_is_no_listing_is_told_in_a_sentence(store: Store, body: bytes) -> None:
    """It is never taken for an empty bucket, and never ends in a traceback."""
    store.answer = lambda _: Answered(body)
    with pytest.raises(SourceError, match=r"s3://media/ cannot be listed: http://.*not with a li"):
        read()


def test_entities_of_a_document_are_not_expanded() -> None:
    """A few bytes could become gigabytes."""
    bomb = f'{HEAD}<!DOCTYPE x [<!ENTITY a "aaaa">]>' + listing(entry("&a;")).decode()[len(HEAD) :]
    assert parse_answer(bomb.encode()) is None
    assert parse_answer(bomb.encode("utf-16")) is None


def test_a_listing_without_a_word_on_its_end_is_read_to_its_end(store: Store) -> None:
    """Some stores leave `IsTruncated` out."""

    def answer(asked: Asked) -> Answered:
        keys = [key for key in ("a.mov", "b.mov") if key > asked.query.get("start-after", "")]
        body = listing(*map(entry, keys[:1]))
        return Answered(body.replace(b"<IsTruncated>false</IsTruncated>", b""))

    store.answer = answer
    assert [item.key for page in read() for item in page.items] == ["a.mov", "b.mov"]


ENCODED = "<EncodingType>url</EncodingType>"


@pytest.mark.parametrize("quickly", [True, False])
def test_a_name_that_is_not_utf8_is_a_reject(store: Store, quickly: bool) -> None:
    """Of a name that only resembles the object's nothing may be made; other names stay."""
    found = Answered(listing(entry("caf%E9.mov"), entry("d+e%2B%C3%A9.mov"), extra=ENCODED))
    store.answer = lambda asked: Answered(b"", 503) if asked.quickly and not quickly else found
    (page,) = read()
    assert [item.key for item in page.items] == ["d e+é.mov"]
    assert r"caf\udce9.mov has a name" in page.rejects[0].reason


def versions(*keys: str, more: bool = False) -> bytes:
    return (
        f"{HEAD}<ListVersionsResult><Name>media</Name>{ENCODED}"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        + "".join(
            f"<Version><Key>{key}</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest>"
            f"<Size>5</Size></Version>"
            for key in keys
        )
        + "</ListVersionsResult>"
    ).encode()


def test_a_version_whose_name_is_not_utf8_is_a_reject(store: Store) -> None:
    """As in a listing of objects."""
    store.answer = lambda _: Answered(versions("caf%E9.mov", "d+e%2B%C3%A9.mov"))
    (page,) = read(versioned=True)
    assert [item.key for item in page.items] == ["d e+é.mov"]
    assert r"caf\udce9.mov has a name" in page.rejects[0].reason


def test_a_name_that_is_not_utf8_has_its_place_by_its_bytes(store: Store) -> None:
    """Stores sort bytes: it comes after an emoji."""
    body = listing(entry("%F0%9F%98%80.mov"), entry("%FCber.mov"), extra=ENCODED)
    store.answer = lambda _: Answered(body)
    (page,) = read()
    assert [item.key for item in page.items] == ["😀.mov"]
    assert r"\udcfcber.mov has a name" in page.rejects[0].reason


def test_such_a_name_belongs_to_one_lane() -> None:
    """It is after the border, so that the next lane has it."""
    keys = ["a.mov", "\udcfcber.mov"]
    given = Answer([Entry(key, 5, None, None) for key in keys], keys[-1], more=True)
    [(_, answer, _)] = Lanes([Lane("s3://media/", None, "😀/")], lambda *_: given, 1, 9)
    assert [each.key for each in answer.entries] == ["a.mov"]


@pytest.mark.parametrize("versioned", [False, True])
def test_an_answer_that_ends_with_such_a_name_is_an_error(store: Store, versioned: bool) -> None:
    """The API cannot ask for what comes after it, and nothing may be left out unsaid."""
    keys = ["%F0%9F%98%80.mov", "%FCber.mov"]
    objects = listing(*map(entry, keys), extra=ENCODED, more=True)
    store.answer = lambda _: Answered(versions(*keys, more=True) if versioned else objects)
    with pytest.raises(SourceError, match=r"object \\udcfcber.mov is not UTF-8.*Rename"):
        read(versioned=versioned)


def archived(key: str, restore: str = "") -> str:
    return entry(key, more=f"<StorageClass>GLACIER</StorageClass>{restore}")


@pytest.mark.parametrize("quickly", [True, False])
def test_archived_objects_are_left_out_until_they_are_restored(
    store: Store,
    quickly: bool,
) -> None:
    """Nothing can be made of them before; `include` takes them all the same."""
    restored = (
        "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
        "<RestoreExpiryDate>2026-12-21T00:00:00Z</RestoreExpiryDate></RestoreStatus>"
    )
    under_way = "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"

    def answer(asked: Asked) -> Answered:
        if asked.quickly and not quickly:
            return Answered(b"", 503)
        told = asked.headers.get("x-amz-optional-object-attributes") == "RestoreStatus"
        return Answered(
            listing(
                archived("a.mov"),
                archived("b.mov", restored if told else ""),
                archived("c.mov", under_way if told else ""),
                entry("d.mov", more="<StorageClass>GLACIER_IR</StorageClass>"),
                entry("e.mov", more="<StorageClass>STANDARD</StorageClass>"),
            )
        )

    store.answer = answer
    (page,) = read()
    assert [item.key for item in page.items] == ["b.mov", "d.mov", "e.mov"]
    assert page.filtered == {"archived": 2}
    assert len(read(include=["archived"])[0].items) == 5


def test_a_bucket_without_archived_objects_is_not_asked_about_restores(store: Store) -> None:
    """Some stores refuse headers that they do not know."""
    read()
    assert not any("x-amz-optional-object-attributes" in each.headers for each in store.asked)


@pytest.mark.parametrize("pays", [True, False])
def test_whoever_requests_says_so_only_if_they_agreed_to_pay(
    store: Store,
    pays: bool,
) -> None:
    """In every request, through boto3 or not, and signed with it."""
    store.answer = lambda asked: (
        Answered(b"", 503) if asked.quickly else Answered(listing(entry("a.mov")))
    )
    read(request_payer=pays)
    told = {each.headers.get("x-amz-request-payer") for each in store.asked}
    assert told == ({"requester"} if pays else {None})
    assert len(store.asked) == 2
    if pays:
        quick = next(each for each in store.asked if each.quickly)
        assert "x-amz-request-payer" in quick.query["X-Amz-SignedHeaders"]


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_whoever_reads_a_manifest_says_so_only_if_they_agreed_to_pay(
    store: Store, name: str, pays: bool
) -> None:
    """Whether it is streamed or copied first; and so does `doctor`, of a bucket."""
    write, _ = WRITERS[name]
    content = write([["s3://media/a.mov"]], ["input"])
    store.answer = lambda _: Answered(content, headers=(("ETag", '"m1"'),))
    (page,) = read_pages(ManifestSource(uri=f"s3://lists/{name}", request_payer=pays))
    assert [item.key for item in page.items] == ["a.mov"]
    assert len(store.asked) == 2
    store.answer = lambda _: Answered(listing())
    assert why_not_listed("media", request_payer=pays) is None
    told = {each.headers.get("x-amz-request-payer") for each in store.asked}
    assert told == ({"requester"} if pays else {None})


def test_a_refusal_names_requester_pays(store: Store) -> None:
    """S3 says no more than 403."""
    refusal = f"{HEAD}<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    store.answer = lambda _: Answered(refusal.encode(), 403)
    with pytest.raises(SourceError, match=r"requester pays, set `request_payer` \(`--request-"):
        read()


def test_a_store_that_asks_to_slow_down_is_asked_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After as long as it says, for minutes; boto3 alone gives up within seconds."""
    slow = f"{HEAD}<Error><Code>SlowDown</Code><Message>Please reduce</Message></Error>"
    times: list[datetime] = []

    def answer(_: Asked) -> Answered:
        times.append(datetime.now(UTC))
        if len(times) <= 3:
            return Answered(slow.encode(), 503, (("Retry-After", "1"),))
        return Answered(listing(entry("a.mov")))

    store.answer = answer
    assert fingerprints(read()) == ["e1"]
    # One quick request, then boto3's, each a second after the last.
    assert [(b - a).total_seconds() >= 1 for a, b in pairwise(times[1:])] == [True, True]
    times.clear()
    monkeypatch.setattr(s3, "PATIENCE_S", 0.5)
    with pytest.raises(SourceError, match="SlowDown"):
        read()
