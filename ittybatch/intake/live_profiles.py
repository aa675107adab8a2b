"""A cache of profiles that reads a file again when it changes: receivers run for weeks."""

import time
from dataclasses import dataclass
from pathlib import Path

from ittybatch.profiles import Profile, ProfileError
from ittybatch.profiles.registry import find_profile, load_profile

_CHECK_EVERY_S = 1.0
_MAX_KNOWN = 1000


@dataclass(slots=True)
class _Known:
    """A profile as it was read, and the state of its file then."""

    path: Path
    stamp: tuple[int, int, int]
    profile: Profile | ProfileError
    checked_at: float


class LiveProfiles:
    """The profiles of a folder; a file that has changed is read again.

    Args:
        directory: The folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, _Known] = {}

    def get(self, name: str) -> Profile:
        """Return a profile by name, the same object as long as its file is the same.

        Raises:
            ProfileError: It does not exist or cannot be used.
        """
        known = self._known.get(name)
        if known is None or not self._is_current(known):
            known = self._read(name)
        if isinstance(known.profile, ProfileError):
            raise known.profile
        return known.profile

    def _read(self, name: str) -> _Known:
        # Not `load_profile`, which also takes paths: a request could then read any file.
        path = find_profile(name, self._directory)
        stamp = _stamp(path)
        found: Profile | ProfileError
        try:
            found = load_profile(str(path), self._directory)
        except ProfileError as error:
            found = error
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        known = self._known[name] = _Known(path, stamp, found, time.monotonic())
        return known

    def _is_current(self, known: _Known) -> bool:
        now = time.monotonic()
        if now - known.checked_at < _CHECK_EVERY_S:
            return True
        known.checked_at = now
        return _stamp(known.path) == known.stamp


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)
