"""Settings: an error names the variable, and repeats no secret."""

from pathlib import Path

import pytest

from ittybatch import settings
from ittybatch.errors import ConfigurationError
from ittybatch.ittybit.options import Kind
from ittybatch.settings import PRICED_KINDS, Settings


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "abc", "valid integer"),
        ("ITTYBATCH_SUBMIT_CONCURRENCY", "0", "greater than or equal to 1"),
        ("ITTYBATCH_KIND_COSTS", "abc", "not JSON"),
        ("ITTYBATCH_KIND_COSTS", "[1]", "valid dictionary"),
        ("ITTYBATCH_KIND_COSTS", '{"video": -1}', "the cost of 'video' is not 0 or more"),
        ("ITTYBATCH_KIND_COSTS", '{"video": Infinity}', "the cost of 'video' is not 0 or more"),
        ("ITTYBATCH_KIND_COSTS", '{"vidoe": 1}', "no kind 'vidoe', only video, audio"),
        ("DATABASE_URL", "foo", "not the URL of a Postgres or SQLite database"),
        ("DATABASE_URL", "mysql://x/y", "not the URL of a Postgres or SQLite database"),
        ("DATABASE_URL", "sqlite://ledger.db", "not the URL of a Postgres or SQLite database"),
        ("DATABASE_URL", "postgres://host:port/x", "not the URL of a Postgres or SQLite database"),
    ],
)
def test_an_error_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    """And says what is wrong, and where to correct it."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        Settings()
    assert str(caught.value).startswith(f"{variable} cannot be used: ")
    assert said in str(caught.value)
    assert ".env" in str(caught.value)


def test_the_one_of_several_values_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable may hold a price for each kind."""
    monkeypatch.setenv("ITTYBATCH_KIND_COSTS", '{"video": 1, "image": "cheap"}')
    with pytest.raises(ConfigurationError, match=r"ITTYBATCH_KIND_COSTS\['image'\]"):
        Settings()


def test_an_error_repeats_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in its cause, which a worker logs, too."""
    monkeypatch.setenv("DATABASE_URL", "mysql://me:s3cr3t@host/db")
    with pytest.raises(ConfigurationError) as caught:
        Settings()
    assert "s3cr3t" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    "variable",
    ["PORT", "DATABASE_URL", "ITTYBATCH_LEASE_S", "ITTYBATCH_KIND_COSTS", "ITTYBIT_API_KEY"],
)
def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """It overrides the value of `.env` for one command."""
    Path(".env").write_text("PORT=8301\nITTYBIT_API_KEY=key\n", encoding="utf-8")
    usual = Settings()
    assert usual.port == 8301
    monkeypatch.setenv(variable, "")
    found = Settings()
    changed = {
        name for name in Settings.model_fields if getattr(found, name) != getattr(usual, name)
    }
    assert changed == {"PORT": {"port"}, "ITTYBIT_API_KEY": {"api_key"}}.get(variable, set())
    assert "port" not in found.model_fields_set or variable != "PORT"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:////var/lib/ledger.db",
        "postgres://me:p:a/s@host/db",
        "postgresql://me@[::1]:5432/db?sslmode=require",
        "postgresql+psycopg:///db?host=/var/run/postgresql",
    ],
)
def test_every_url_of_a_ledger_is_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A file, a server, a socket; with any characters in the password."""
    monkeypatch.setenv("DATABASE_URL", url)
    assert Settings().ledger_url.partition("://")[2] == url.partition("://")[2]


def test_a_flow_run_of_a_wheel_never_starts_a_ledger_in_its_temporary_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every leg would find an empty one. The worker's environment has to name the ledger."""
    monkeypatch.setattr(settings, "IS_CHECKOUT", False)
    assert Settings().ledger_url.startswith("sqlite:")
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "1f0c")
    with pytest.raises(ConfigurationError, match="DATABASE_URL nor ITTYBATCH_HOME"):
        _ = Settings().ledger_url
    monkeypatch.setenv("ITTYBATCH_HOME", str(Path.cwd() / "home"))
    assert Settings().ledger_url == f"sqlite:///{Path.cwd()}/home/ledger.db"


def test_every_kind_can_have_a_price() -> None:
    """All kinds of Ittybit, and no others."""
    assert set(PRICED_KINDS) == set(Kind)


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder without a `.env` but the test's own."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("a plain secret", ["a plain secret"]),
        ('"in quotes"', ["in quotes"]),
        ("'in quotes'", ["in quotes"]),
        (" padded one ", ["padded one"]),
        ("the new one, the old one", ["the new one", "the old one", "the new one, the old one"]),
        ("trailing,", ["trailing", "trailing,"]),
        ('"with, a comma"', ["with, a comma"]),
        ('"the new one", "the old one"', ["the new one", "the old one"]),
        ("'the new one','the old one'", ["the new one", "the old one"]),
        ('half"quoted', ['half"quoted']),
    ],
)
def test_a_webhook_secret_is_read_as_it_is_meant(
    monkeypatch: pytest.MonkeyPatch, value: str, secrets: list[str]
) -> None:
    """Docker's `--env-file` keeps quotes; a comma may separate secrets or belong to one."""
    monkeypatch.setenv("ITTYBIT_WEBHOOK_SECRET", value)
    assert [each.decode() for each in Settings().webhook_secrets] == secrets


@pytest.mark.parametrize("value", ["x", '"x"', "a long secret,x", "abc,defghijkl", '"","x"'])
def test_a_secret_that_can_be_guessed_at_once_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Also as one of several, and the message does not repeat the others."""
    monkeypatch.setenv("ITTYBIT_WEBHOOK_SECRET", value)
    with pytest.raises(ConfigurationError, match="ITTYBIT_WEBHOOK_SECRET cannot be used") as caught:
        Settings()
    assert "double quotes" in str(caught.value)
    assert value not in f"{caught.value} {caught.value.__cause__}"
