"""Read profiles from a folder, one profile a file."""

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ittybatch.profiles.errors import ROOT, ProfileError
from ittybatch.profiles.profile import Profile, problems_of
from ittybatch.profiles.rendition import SLUG
from ittybatch.yaml_files import (
    Problem,
    UnreadableFile,
    in_order,
    list_problems,
    parse_document,
    read_text,
)

_SUFFIXES = (".yaml", ".yml")
_NAME = re.compile(SLUG)


class Profiles:
    """The profiles of a folder, each read once.

    Args:
        directory: The folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[str, Profile | ProfileError] = {}

    def get(self, name: str) -> Profile:
        """Return a profile by name. Paths are not followed, because manifest rows give the name.

        Raises:
            ProfileError: It does not exist or cannot be used; later calls raise the same error.
        """
        if name not in self._read:
            try:
                self._read[name] = _load(find_profile(name, self._directory))
            except ProfileError as error:
                self._read[name] = error
        found = self._read[name]
        if isinstance(found, ProfileError):
            raise found
        return found


def load_profile(name_or_path: str, profiles_dir: Path) -> Profile:
    """Read and check a profile.

    Args:
        name_or_path: A name in the folder, or the path of a file, which has a slash or ends
            with `.yaml` or `.yml`.
        profiles_dir: Folder in which names are looked up.

    Raises:
        ProfileError: Listing every problem with its line and field.
    """
    if "/" in name_or_path or name_or_path.endswith(_SUFFIXES):
        return _load(Path(name_or_path).expanduser())
    return _load(find_profile(name_or_path, profiles_dir))


def list_profiles(directory: Path) -> list[str]:
    """List the names of a folder's profiles in order, valid or not."""
    if not directory.is_dir():
        return []
    return sorted({path.stem for path in directory.iterdir() if path.suffix in _SUFFIXES})


def find_profile(name: str, directory: Path) -> Path:
    """Find the file of a profile by its name.

    Raises:
        ProfileError: The folder has no such profile; the error lists those it has.
    """
    if _NAME.fullmatch(name):
        for suffix in _SUFFIXES:
            path = directory / f"{name}{suffix}"
            if path.is_file():
                return path
    names = ", ".join(list_profiles(directory)) or "none"
    raise ProfileError(
        f"There is no profile {name!r} in {directory} (found: {names}).",
        remedy="Use one of these, or give the path of a YAML file.",
    )


def _load(path: Path) -> Profile:
    try:
        document = parse_document(read_text(path), root=ROOT)
    except UnreadableFile as error:
        raise ProfileError(f"Profile {path} {error.reason}.", remedy=error.remedy) from error
    if document.problems:
        raise _unusable(path, document.problems)
    data = document.data
    if isinstance(data, dict):
        data.setdefault("name", path.stem)
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        problems = [document.problem(*each) for each in problems_of(error, data)]
        raise _unusable(path, problems) from error


def _unusable(path: Path, problems: Sequence[Problem]) -> ProfileError:
    return ProfileError(
        list_problems(f"Profile {path}", problems),
        problems=in_order(problems),
        remedy="Nothing was sent to Ittybit. Fix the file and start again.",
    )
