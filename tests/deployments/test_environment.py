"""Every environment variable that a declared file sets is read by somebody."""

import re

import prefect.settings

from tests.deployments.files import DEPLOYMENTS, environment, settings_names

# Read by Python, Prefect's telemetry, the image of Postgres, and the AWS SDKs.
OTHERS = {
    "PATH",
    "PYTHONUNBUFFERED",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "PIP_NO_CACHE_DIR",
    "DO_NOT_TRACK",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_DB",
    "AWS_REGION",
}


def test_every_variable_of_ours_is_a_setting() -> None:
    """A misspelt one would change nothing, without a word."""
    ours = {
        name: file
        for name, file in environment().items()
        if not name.startswith("PREFECT_") and name not in OTHERS
    }
    assert {"DATABASE_URL", "WEBHOOK_URL", "ITTYBATCH_HOME"} <= set(ours)
    unknown = {name: file for name, file in ours.items() if name not in settings_names()}
    assert not unknown


def test_every_variable_of_prefect_is_a_setting_of_prefect() -> None:
    """Under one of the names that Prefect reads it by."""
    theirs = {name for name in environment() if name.startswith("PREFECT_")}
    assert {"PREFECT_API_URL", "PREFECT_WORKER_QUERY_SECONDS"} <= theirs
    # The module has an attribute for each of its settings.
    assert not [name for name in theirs if not hasattr(prefect.settings, name)]
    assert not hasattr(prefect.settings, "PREFECT_WORKER_QUERY_SECOND")


def test_every_variable_that_a_comment_offers_is_a_setting() -> None:
    """Somebody removes the mark, and expects something of it."""
    offered = set()
    for path in sorted(DEPLOYMENTS.rglob("*.yaml")):
        offered |= set(re.findall(r"ITTYBATCH_[A-Z_]+", path.read_text()))
    assert "ITTYBATCH_REPORT_TO" in offered
    assert not offered - settings_names()
