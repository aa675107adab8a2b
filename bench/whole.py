"""A whole system of the bench's own, with nobody else's settings."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ittybatch_local import LocalStack
from tests.conftest import OURS
from tests.end_to_end.system import System


@contextmanager
def whole_system(ledger_url: str, prefect: Mapping[str, str] | None = None) -> Iterator[System]:
    """Run the local stack with a sandbox that encodes nothing, until the block ends.

    Args:
        ledger_url: Where the ledger is.
        prefect: Prefect's settings beyond those of the stack.
    """
    # Not a private folder: PostgreSQL does not run as root, and must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="ittybatch-bench-stack-"))
    folder.chmod(0o755)
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(OURS)]:
        del os.environ[name]
    # Nobody is to ask after the silent jobs while we look.
    os.environ |= {"DATABASE_URL": ledger_url, "ITTYBATCH_POLL_AFTER_S": "86400"}
    _write_profile(folder / "home" / "prefect", prefect or {})
    try:
        with LocalStack(folder / "home", instant=True) as stack:
            system = System(stack)
            try:
                yield system
            finally:
                system.close()
    finally:
        os.environ.clear()
        os.environ |= before
        shutil.rmtree(folder, ignore_errors=True)


def _write_profile(folder: Path, settings: Mapping[str, str]) -> None:
    folder.mkdir(parents=True)
    lines = [f'{name} = "{value}"' for name, value in settings.items()]
    text = ['active = "bench"', "", "[profiles.bench]", *lines, ""]
    (folder / "profiles.toml").write_text("\n".join(text))
