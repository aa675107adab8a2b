"""What a stranger finds at the root of the repository."""

import os
import re
import subprocess
import tomllib

from packaging.requirements import Requirement

from ittybatch import __version__
from ittybatch.settings import CHECKOUT
from tests.docs.pages import PAGES


def test_the_licence_is_whole() -> None:
    """The Apache License, from its title to its appendix."""
    text = (CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability" in text
    assert text.rstrip().endswith("limitations under the License.")


def test_the_changelog_tells_of_this_version() -> None:
    """Its newest entry is the version that the program says it is."""
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)$", text, flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


def test_the_three_distributions_take_each_other() -> None:
    """`make` installs without resolving, so nothing else would notice a range that is too old."""
    given = {}
    for folder in (".", "ittybatch_local", "ittybit_sandbox"):
        text = (CHECKOUT / folder / "pyproject.toml").read_text(encoding="utf-8")
        project = tomllib.loads(text)["project"]
        given[project["name"]] = project
    wanted = [
        Requirement(each)
        for project in given.values()
        for each in [
            *project["dependencies"],
            *project.get("optional-dependencies", {}).get("local", ()),
        ]
    ]
    ours = {each.name: each.specifier for each in wanted if each.name in given}
    assert set(ours) == set(given)
    versions = {name: project["version"] for name, project in given.items()}
    versions["ittybatch"] = __version__
    assert {name for name, allowed in ours.items() if versions[name] not in allowed} == set()


def test_ci_runs_the_readmes_test_command() -> None:
    """The same words as a newcomer's, from whichever folder it is called."""
    script = CHECKOUT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    tests, image = text.split("\nmake test\n")
    assert "make" not in tests
    assert [line.strip() for line in image.splitlines() if "make" in line] == ["make test-image"]
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert "```sh\nmake demo\nmake test\n```" in readme


def test_no_lock_names_a_package_index() -> None:
    """Whoever installs has an index of their own."""
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-bench.txt"):
        text = (CHECKOUT / name).read_text(encoding="utf-8")
        assert "--index-url" not in text
        assert "--find-links" not in text
        assert "--hash=sha256:" in text


def test_pages_are_readable_on_a_terminal() -> None:
    """Prose keeps to a hundred columns; tables and commands may be longer."""
    for page in PAGES:
        fenced = False
        for line in (CHECKOUT / page).read_text(encoding="utf-8").splitlines():
            fenced = fenced != line.startswith("```")
            free = fenced or "|" in line or "](" in line
            assert free or len(line) <= 100, f"{page}: {line}"
