"""Destinations: what a template may say, and that no item's name leads out of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ittybatch.profiles import (
    DestinationOverlap,
    Item,
    Profile,
    ProfileError,
    UnusableItem,
    refuse_overlap,
)


def profile(template: str, kind: str = "video") -> Profile:
    rendition = {"name": "small", "kind": kind, "destination": template}
    return Profile.from_mapping({"name": "p", "renditions": [rendition]})


def destination(template: str, uri: str) -> str:
    (job,) = profile(template).jobs_for(Item(uri, line=1))
    assert job.destination is not None
    return job.destination


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("s3://out/{key}", "s3://out/in/My clip.v2.MOV"),
        ("s3://out/{stem}/{rendition}.{ext}", "s3://out/My clip.v2/small.mp4"),
        ("s3://out/{dir}/{stem}.{suffix}", "s3://out/in/My clip.v2.mov"),
        ("s3://{bucket}-out/{kind}/{stem}", "s3://media-out/video/My clip.v2"),
        ("s3://out/{{{stem}}}", "s3://out/{My clip.v2}"),
    ],
)
def test_fields_stand_for_the_items_parts(template: str, expected: str) -> None:
    """Every field, and braces as themselves."""
    assert destination(template, "s3://media/in/My clip.v2.MOV") == expected


def test_a_url_has_parts_as_well() -> None:
    """Its host, and its decoded path without the query."""
    uri = "https://cdn.example.com/in/a%20b.mp4?sig=secret"
    assert destination("s3://out/{bucket}/{key}", uri) == "s3://out/cdn.example.com/in/a b.mp4"


def test_an_items_hash_tells_items_apart() -> None:
    """By the whole URI, so that a query counts."""
    first, second, again = (
        destination("s3://out/{item}.mp4", f"https://h/v.mp4?id={n}") for n in (1, 2, 1)
    )
    assert first == again != second


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("out/{key}", "must begin with s3://"),
        ("/etc/{key}", "must begin with s3://"),
        ("https://out/{key}", "must begin with s3://"),
        ("s3://out/{name}", "not a field"),
        ("s3://out/{metadata.id}/{key}", "not a field"),
        ("s3://out/{profile}/{key}", "not a field"),
        ("s3://out/{key.__class__}", "not a field"),
        ("s3://out/{key!r}", "takes no format"),
        ("s3://out/{key:>9}", "takes no format"),
        ("s3://out/{}", "not a field"),
        ("s3://out/{key", "not a template"),
        ("s3://out/../{key}", "begins with dots"),
        ("s3://out/a/./{key}", "begins with dots"),
        ("s3://out/..{key}", "begins with dots"),
        ("s3://out/.{suffix}/{key}", "begins with dots"),
        ("s3://out//{key}", "empty segment"),
        ("s3://out/{key}/", "empty segment"),
        ("s3://out", "names no key"),
        ("s3://out/", "same for every item"),
        ("s3://out/fixed.mp4", "same for every item"),
        ("s3://out/{suffix}.mp4", "same for every item"),
        ("s3://out/{stem}/{dir}", "without a file name"),
        ("s3://{stem}/{key}", "in the bucket"),
        ("s3://O*T/{key}", "does not name a bucket"),
        ("s3://o/{key}", "does not name a bucket"),
        ("s3://out/a\\b/{key}", "backslash"),
        ("s3://out/a\nb/{key}", "invisible character"),
    ],
)
def test_an_unusable_template_is_refused_when_loaded(template: str, reason: str) -> None:
    """With the reason, and before anything is sent."""
    with pytest.raises(ProfileError, match=reason) as caught:
        profile(template)
    assert [problem.field for problem in caught.value.problems] == ["renditions[0].destination"]


def test_the_outputs_suffix_must_be_known() -> None:
    """An image without a format has the one of its input."""
    with pytest.raises(ProfileError, match="must name a `format`"):
        profile("s3://out/{stem}.{ext}", kind="image")
    assert profile("s3://out/{stem}.{ext}", kind="adaptive_video")


def test_two_renditions_cannot_share_a_destination() -> None:
    """The second would replace the first."""
    renditions = [
        {"name": name, "kind": kind, "destination": "s3://out/{stem}.bin"}
        for name, kind in (("a", "video"), ("b", "audio"))
    ]
    with pytest.raises(ProfileError, match="b is written to the same destination as a"):
        Profile.from_mapping({"name": "p", "renditions": renditions})


def test_an_output_never_replaces_its_item() -> None:
    """Not even where the template alone does not show it."""
    with pytest.raises(UnusableItem, match="would replace it"):
        destination("s3://out/{key}", "s3://out/clip.mov")


def test_a_key_longer_than_s3_allows_is_refused() -> None:
    """With the way to shorten it."""
    with pytest.raises(UnusableItem, match=r"1024.*\{item\}"):
        destination("s3://out/renditions/{key}", "s3://media/" + "é" * 510 + ".mov")


def test_an_error_keeps_a_signed_url_to_itself() -> None:
    """Errors are printed and stored; signatures open doors."""
    uri = f"https://me:pw@cdn.example/{'a' * 1200}.mov?mail=a@b&sig=s3cr3t"
    with pytest.raises(UnusableItem) as caught:
        destination("s3://out/{key}", uri)
    assert "https://cdn.example/aaa" in str(caught.value)
    assert not [secret for secret in ("s3cr3t", "pw@", "a@b") if secret in str(caught.value)]


NAMES = st.text(max_size=40) | st.text("./\\ .%2eE\x00\n\u202e", max_size=12)
TEMPLATES = st.sampled_from(
    [
        "s3://out/a/{key}",
        "s3://out/a/{dir}/{stem}.{ext}",
        "s3://out/a/{dir}.{suffix}/{stem}",
        "s3://out/a/{suffix}.{dir}{suffix}./{item}",
        "s3://out/a/x{dir}{key}y",
        "s3://out/a/{stem}{suffix}{dir}{stem}",
        "s3://out/a/b.{stem}",
    ]
)


@settings(deadline=None)
@given(
    template=TEMPLATES, name=NAMES, scheme=st.sampled_from(["s3://media/", "https://h.example/"])
)
def test_no_name_leads_out_of_the_prefix(template: str, name: str, scheme: str) -> None:
    """Whatever an item is called, its output stays where the template says."""
    if scheme.startswith("https"):
        name = name.replace("?", "").replace("#", "")
    found = destination(template, scheme + name)
    assert found.startswith(template.partition("{")[0])
    segments = found.removeprefix("s3://").split("/")
    assert all(segments)
    assert not {".", ".."} & set(segments)
    assert found.isprintable() or not any(ord(character) < 32 for character in found)
    assert "\\" not in found
    found.encode()


@pytest.mark.parametrize(
    ("template", "scanned"),
    [
        ("s3://media/{key}", "s3://media/"),
        ("s3://media/{key}", "s3://media"),
        ("s3://media/{dir}/x/{stem}", "s3://media/uploads/"),
        ("s3://media/uploads/out/{key}", "s3://media/uploads/"),
        ("s3://media/uploads/out/{key}", "s3://media/uploads"),
        ("s3://media/up{key}", "s3://media/uploads/"),
        ("s3://{bucket}/out/{key}", "s3://media/"),
        ("s3://{bucket}/{key}", "s3://media/uploads/"),
    ],
)
def test_outputs_among_the_scanned_objects_are_refused(template: str, scanned: str) -> None:
    """The next run would make outputs of outputs."""
    with pytest.raises(DestinationOverlap, match="rendition small: s3://media/"):
        refuse_overlap(profile(template), ["s3://elsewhere/", scanned])


@pytest.mark.parametrize(
    ("template", "scanned"),
    [
        ("s3://out/{key}", "s3://media/"),
        ("s3://media/renditions/{key}", "s3://media/uploads/"),
        ("s3://media/uploads-out/{key}", "s3://media/uploads"),
        ("s3://{bucket}-out/{key}", "s3://media/"),
        ("s3://{bucket}/renditions/{key}", "s3://media/uploads/"),
    ],
)
def test_outputs_beside_the_scanned_objects_are_fine(template: str, scanned: str) -> None:
    """One bucket may hold both."""
    refuse_overlap(profile(template), [scanned])
