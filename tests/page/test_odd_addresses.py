"""Whatever an address or a form says, the answer is a page or a refusal, never a server error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from ittybatch.ledger import Ledger
from ittybatch.ledger.database import create_ledger_engine
from tests.page.new_jobs import PROFILE
from tests.page.steering import Recorder, failing
from tests.receiver.harness import Running, running

TOKEN = "a-token-of-the-api"
ODD = [
    "9999-12-31",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2147483648",
    "9" * 18,
    "9" * 5000,
    f"{'9' * 18}.{'9' * 18}",
    "²",
    "a\0b",
    "\ud800",
    "-1",
    "x" * 20_000,
    '{"a":' * 900 + "1" + "}" * 900,
]
# Every parameter that a view reads, by the path of the view.
QUERIES = {
    "/page/": "q state since until idle after window done",
    "/page/regions/batches": "after q",
    "/page/jobs": "batch state rendition kind q metadata after before",
    "/page/held": "batch input state alike before job after",
    "/page/held/release": "batch input state alike before job",
    "/page/actions": "batch actor via before",
    "/page/new/made": "jobs all",
    "/page/webhook": "task digest",
    "/page/batches/{batch}": "done",
    "/page/batches/{batch}/chunks": "state after",
    "/page/batches/{batch}/rejects": "after state",
    "/page/batches/{batch}/retry": "state alike before expected",
    "/page/batches/{batch}/report.html": "failures",
    "/page/items/1/0/retry": "job",
}
PATHS = [
    "/page/batches/{odd}",
    "/page/regions/batches/{batch}/{odd}",
    "/page/items/{odd}/0",
    "/page/items/1/{odd}",
    "/page/jobs/{odd}",
    "/page/jobs/{odd}/answer",
    "/page/media/{odd}/source",
    "/page/media/1/{odd}",
    "/page/media/1/output/playlist/{odd}",
    "/page/new/started/{odd}",
    "/page/new/arrived/{odd}",
    "/page/static/{odd}",
    "/jobs/{odd}",
    "/uploads/{odd}/parts",
]
POSTED = ["/uploads/{odd}/complete"]
FORMS = {
    "/page/held/release": "batch input state alike before job expected",
    "/page/batches/{batch}/retry": "state alike before expected",
    "/page/items/1/0/retry": "job before expected",
    "/page/new/take": "sealed",
    "/page/new/address": "url make options",
    "/page/new/files": "make options name type size",
    "/page/new/file": "make content_type name",
}
# What the other fields say, so that the odd one is read.
VALID = {
    "url": "https://example.com/film.mov",
    "make": "kind:video",
    "options": "{}",
    "name": "film.mov",
    "type": "video/quicktime",
    "size": "17",
    "content_type": "video/quicktime",
}


@pytest.fixture
def client(
    postgres_url: str, prefect: Recorder, tmp_path: Path, bucket: str
) -> Iterator[httpx.Client]:
    """Somebody at the page, who also has the API's token. Postgres refuses more than SQLite."""
    del prefect
    profiles, declared = tmp_path / "profiles", tmp_path / "intake.yaml"
    profiles.mkdir()
    (profiles / "web.yaml").write_text(PROFILE)
    declared.write_text(f"uploads: {{bucket: {bucket}, profile: web}}\n")
    settings: dict[str, Any] = {
        "api_token": TOKEN,
        "profiles_dir": profiles,
        "intake_file": declared,
    }

    def up(running_: Running) -> httpx.Client:
        headers = {"Origin": running_.url, "Authorization": f"Bearer {TOKEN}"}
        return httpx.Client(base_url=running_.url, headers=headers, timeout=20, trust_env=False)

    with running(postgres_url, **settings) as receiver, up(receiver) as opened:
        yield opened


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


def test_no_odd_value_is_a_server_error(postgres_url: str, client: httpx.Client) -> None:
    """Of any parameter, part of a path or field of a form, by itself."""
    ledger = Ledger(create_ledger_engine(postgres_url))
    batch = failing(ledger)
    ledger.close()
    asked = [
        f"{path.format(batch=batch)}?{name}={_encoded(odd)}"
        for path, names in QUERIES.items()
        for name in names.split()
        for odd in ODD
    ]
    asked += [path.format(batch=batch, odd=_encoded(odd)) for path in PATHS for odd in ODD]
    found = {address: client.get(address).status_code for address in asked}
    named = ("batches/a%00", "items/a%00/0", "jobs/a%00", "media/a%00/source", "new/started/a%00")
    assert {client.get(f"/page/{each}").status_code for each in named} == {404}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path, names in FORMS.items():
        for name in names.split():
            for odd in ODD:
                fields = {each: VALID[each] for each in names.split() if each in VALID}
                body = "&".join(f"{k}={_encoded(v)}" for k, v in {**fields, name: odd}.items())
                answer = client.post(path.format(batch=batch), content=body, headers=form)
                found[f"POST {path} {name} {odd!r}"] = answer.status_code
        complete = "&".join(f"{k}={_encoded(VALID[k])}" for k in names.split() if k in VALID)
        if complete:
            answer = client.post(path.format(batch=batch), content=complete, headers=form)
            assert answer.status_code == 200, (path, "every other field is read")
    for path in POSTED:
        for odd in ODD:
            answer = client.post(path.format(odd=_encoded(odd)), json={})
            found[f"POST {path} {odd!r}"] = answer.status_code
            assert answer.status_code != 405
    assert {each[:200]: status for each, status in found.items() if status >= 500} == {}
    assert {200, 400, 404} <= set(found.values())
