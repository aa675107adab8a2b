"""The file that declares sinks: what it may say, and how its mistakes are reported."""

from pathlib import Path

import pytest

from ittybatch.ledger.sinks import DeclaredSink
from ittybatch.project import CHECKOUT, RESULTS_FILE
from ittybatch.settings import Settings
from ittybatch.sinks.declared import ResultsFileError, declared_sinks, for_ledger, read_sinks

GOOD = """
sinks:
  - name: media
    kind: sql
    url: ${MEDIA_URL}
    table: media
    mode: upsert
    key: {id: "{metadata.id}"}
    columns: {status: "{status}"}
  - name: app
    kind: http
    url: https://app.example.com/results
    secret: ${RESULTS_SECRET}
    on_accepted: true
"""


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "results.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _problems(tmp_path: Path, text: str) -> str:
    with pytest.raises(ResultsFileError) as refused:
        read_sinks(_written(tmp_path, text))
    return str(refused.value)


def test_the_sinks_of_a_file_are_those_of_the_ledger(tmp_path: Path) -> None:
    """With their kind, and whether they hear of acceptances."""
    assert for_ledger(read_sinks(_written(tmp_path, GOOD))) == [
        DeclaredSink("media", "sql"),
        DeclaredSink("app", "http", on_accepted=True),
    ]


@pytest.mark.parametrize("text", ["", "# none yet\n", "\n  # indented\n", "sinks: []\n"])
def test_a_file_may_declare_no_sink(tmp_path: Path, text: str) -> None:
    """As the shipped one."""
    assert read_sinks(_written(tmp_path, text)) == []
    assert read_sinks(CHECKOUT / RESULTS_FILE) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sinks:\n  - kind: [", "line 2, the file: not YAML"),
        ("- name: a\n", "line 1, the file: it must be a mapping with a list named `sinks`"),
        ("sink: []\n", "line 1, sink: there is no such field"),
        ("sinks: {}\n", "line 1, sinks: it must be a list"),
        ("sinks:\n  - media\n", "line 2, sinks[0]: it must be a mapping"),
        ("sinks:\n  - name: a\n", "line 2, sinks[0].kind: sink 'a': it is missing"),
        (
            "sinks:\n  - name: a\n    kind: sqll\n",
            "line 3, sinks[0].kind: sink 'a': there is no kind 'sqll'; the kinds are sql, ",
        ),
        (
            GOOD.replace("table: media", "tabel: media"),
            "line 6, sinks[0].tabel: sink 'media': extra inputs are not permitted",
        ),
        (GOOD.replace("name: app", "name: media"), "sink 'media': another sink has this name"),
        (GOOD.replace("name: app", "name: My App"), "sinks[1].name: sink 'My App'"),
        (GOOD.replace('"{status}"', '"{statis}"'), "line 9, sinks[0].columns: sink 'media'"),
        ("sinks:\n" + "  - {name: a, kind: sql}\n" * 21, "it has 21 sinks; the most are 20"),
        ("sinks:\n  - name:\n    kind: sql\n", "line 2, sinks[0].name: has no value"),
    ],
)
def test_a_mistake_is_reported_with_its_line_sink_and_field(
    tmp_path: Path, text: str, said: str
) -> None:
    """And with what to do about it."""
    message = _problems(tmp_path, text)
    assert said in message
    assert "docs/results.md" in message


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    """In the order of the file."""
    message = _problems(tmp_path, GOOD.replace("mode: upsert", "mode: append").replace("${R", "R"))
    assert message.index("sinks[0].mode") < message.index("sinks[1].secret")
    assert "2 problems" in message


def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """Files are committed and copied."""
    message = _problems(tmp_path, GOOD.replace("${RESULTS_SECRET}", "hunter2hunter2"))
    assert "sinks[1].secret: sink 'app': a secret does not belong" in message
    message += _problems(tmp_path, GOOD.replace("${MEDIA_URL}", "postgresql://me:hunter2@db/app"))
    assert "sinks[0].url: sink 'media'" in message
    assert "hunter2" not in message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the setting that names it."""
    with pytest.raises(ResultsFileError, match=r"nowhere.yaml cannot be read.*RESULTS_FILE"):
        declared_sinks(Settings(results_file=tmp_path / "nowhere.yaml"))


def test_a_file_of_another_encoding_or_of_any_size_is_refused(tmp_path: Path) -> None:
    """Without reading all of it."""
    path = tmp_path / "results.yaml"
    path.write_bytes(b"sinks: \xff\n")
    with pytest.raises(ResultsFileError, match="not UTF-8 at byte 7"):
        read_sinks(path)
    path.write_bytes(b"#" * 300_000)
    with pytest.raises(ResultsFileError, match="more than 262144 bytes"):
        read_sinks(path)
