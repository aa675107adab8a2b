"""Shell patterns: what people write for names and paths matches what they mean."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ittybatch.profiles.glob import glob_matches


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.{mov,mp4}", "in/a.mp4", True),
        ("*.{mov,mp4}", "in/a.wav", False),
        ("{a,b*}.{mov,mp4}", "bcd.mov", True),
        ("{2024,2025/{01,02}}/*.mov", "2025/02/a.mov", True),
        ("{2024,2025/{01,02}}/*.mov", "2025/03/a.mov", False),
        ("clip{1}.mov", "clip{1}.mov", True),
        ("clip{1,2.mov", "clip{1,2.mov", True),
        ("a,b.mov", "a,b.mov", True),
        ("[{,}].mov", "{.mov", True),
        ("**/*.mov", "a.mov", True),
        ("**/*.mov", "in/deep/a.mov", True),
        ("2024/**/a.mov", "2024/a.mov", True),
        ("2024/**/a.mov", "2024/x/y/a.mov", True),
        ("2024/**/a.mov", "2024x/a.mov", False),
        ("/2024/*.mov", "2024/a.mov", True),
        ("./2024/*.mov", "2024/a.mov", True),
        ("*.mov", "a.MOV", False),
        ("2024/*", "2024/x/a.mov", True),
    ],
)
def test_a_pattern_means_what_a_shell_means_by_it(
    pattern: str,
    path: str,
    matches: bool,
) -> None:
    """Choices in braces and `**/` among them; `*` crosses slashes."""
    assert glob_matches(pattern, path) is matches


@given(
    st.text(alphabet="ab*?[]!-.", min_size=1, max_size=8),
    st.text(alphabet="ab.-[]!", max_size=8),
)
def test_without_braces_it_is_the_library_s_pattern(pattern: str, name: str) -> None:
    """Whatever stood in a profile before means the same."""
    assert glob_matches(pattern, name) is fnmatch.fnmatchcase(name, pattern)
