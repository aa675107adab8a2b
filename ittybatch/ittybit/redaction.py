"""Takes credentials out of text that came from outside, before anyone can log it."""

import re

# Enough to understand any message, and little enough to search in no time.
_LONGEST = 8192
_MASK = "[redacted]"
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer\s+)[^\s\"',;]+"), rf"\1{_MASK}"),
    (re.compile(r"\b(?:ittybit|sk)_(?:live|test)_[\w-]+"), _MASK),
    # A signed URL grants access to whoever reads it, and its query is what signs it.
    (re.compile(r"(?i)\b(https?://[^\s\"'<>?]{1,4096})\?[^\s\"'<>]+"), rf"\1?{_MASK}"),
    (re.compile(r"(?i)\b(https?://)[^\s\"'<>/@]{1,512}@"), rf"\1{_MASK}@"),
)


def redacted(text: str, *secrets: str) -> str:
    """Mask bearer tokens, API keys, signed URLs' queries, and the secrets given; cut to 8 KiB."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, _MASK)
    text = text[:_LONGEST]
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
