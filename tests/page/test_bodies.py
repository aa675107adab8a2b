"""Bodies of webhooks, as people read them."""

import orjson

from ittybatch.page.bodies import MAX_LINES, MAX_READ_BYTES, show_body


def text(body: bytes, *secrets: str) -> str:
    return "\n".join(show_body(body, secrets).lines)


def test_json_is_indented_and_its_secrets_are_out() -> None:
    """Signatures in addresses, values of secret names, and the project's own secrets."""
    shown = text(
        orjson.dumps(
            {
                "id": "task_1",
                "output": {"url": "https://b.test/a.mp4?X-Amz-Signature=abc"},
                "metadata": {"api_token": "abc", "note": "s3cr3t of the project", "title": "Bär"},
            }
        ),
        "s3cr3t",
    )
    assert '  "id": "task_1",\n  "output": {\n' in shown
    assert "https://b.test/a.mp4?[redacted]" in shown
    assert "abc" not in shown
    assert "s3cr3t" not in shown
    assert "Bär" in shown


def test_characters_that_deceive_the_eye_are_written_as_escapes() -> None:
    """A name that is read backwards, a control character, half of an emoji."""
    body = '{"name":"\u202egpj.exe\u0000\u200b"}'.encode() + b"\xff\x1b[31m"
    assert "\\u202egpj.exe" in text(b'{"name":"\xe2\x80\xaegpj.exe"}')
    shown = text(body)
    assert shown.isprintable()
    for escape in ("\\u202e", "\\u0000", "\\u200b", "\\xff", "\\u001b"):
        assert escape in shown


def test_what_is_no_json_is_shown_as_text_and_says_so() -> None:
    """Line by line, without its secrets."""
    shown = show_body(b"token=abc\nBearer abc.def\n<script>alert(1)</script>")
    assert list(shown.lines) == [
        "token=[redacted]",
        "Bearer [redacted]",
        "<script>alert(1)</script>",
    ]
    assert shown.note == "This is not JSON."


def test_a_huge_body_is_cut() -> None:
    """The receiver accepts a megabyte; a page does not show one."""
    long = show_body(orjson.dumps(["x"] * 5000))
    assert len(long.lines) == MAX_LINES
    assert "5,002 lines" in long.note
    huge = show_body(b"a" * (MAX_READ_BYTES + 1))
    assert max(map(len, huge.lines)) <= 2000
    assert huge.size_bytes == MAX_READ_BYTES + 1
    assert "Only its first" in huge.note
    assert show_body(b"[" * 100_000).note.startswith("This is not JSON.")
