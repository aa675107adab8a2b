"""Read `intake.yaml`, and check it with the profiles that it names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from ittybatch.errors import IttybatchError
from ittybatch.intake.declared import WITHOUT_PROFILE, Declared
from ittybatch.profiles import (
    DestinationOverlap,
    Profile,
    ProfileError,
    Profiles,
    list_profiles,
    refuse_overlap,
)
from ittybatch.profiles.profile import problems_of
from ittybatch.yaml_files import (
    ROOT,
    Location,
    Problem,
    UnreadableFile,
    in_order,
    list_problems,
    parse_document,
    read_text,
)


class DeclarationError(IttybatchError):
    """`intake.yaml` cannot be used. Nothing is taken in.

    Args:
        path: The file.
        problems: Every problem found.
    """

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        super().__init__(
            list_problems(str(path), problems),
            remedy="No event, request or upload was taken. Correct the file, check it with "
            "`ittybatch doctor`, and start the receiver again.",
        )
        self.problems = tuple(in_order(problems))

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}"


def load_declared(path: Path, profiles_dir: Path) -> Declared:
    """Read and check what is declared.

    Args:
        path: The file. One that does not exist, or that is empty, declares nothing.
        profiles_dir: Folder of the profiles that it names.

    Raises:
        DeclarationError: Listing every problem with its line, field and remedy.
    """
    try:
        text = read_text(path)
    except UnreadableFile as error:
        if error.is_missing:
            return Declared()
        remedy = f"; {error.remedy[:1].lower()}{error.remedy[1:-1]}" if error.remedy else ""
        raise DeclarationError(path, [Problem(None, ROOT, error.reason + remedy)]) from error
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return Declared()
    document = parse_document(text)
    if document.problems:
        raise DeclarationError(path, document.problems)
    try:
        declared = Declared.model_validate(document.data)
    except ValidationError as error:
        found = [document.problem(*each) for each in problems_of(error, document.data)]
        raise DeclarationError(path, found) from error
    found = [document.problem(*each) for each in _problems_with_profiles(declared, profiles_dir)]
    if found:
        raise DeclarationError(path, found)
    return declared


def _problems_with_profiles(
    declared: Declared, profiles_dir: Path
) -> Iterator[tuple[Location, str]]:
    profiles, known = Profiles(profiles_dir), list_profiles(profiles_dir)
    watched = [each.uri for each in declared.buckets]
    for location, name in _profiles_of(declared):
        if name not in known:
            found = ", ".join(known) or "none"
            why = f"there is no profile {name!r} in {profiles_dir} (found: {found})"
            yield location, f"{why}; use one of these, or make {name}.yaml there"
            continue
        try:
            profile = profiles.get(name)
        except ProfileError as error:
            yield location, _in_one_line(error)
            continue
        if location[0] != "options":
            yield from ((location, why) for why in _loops(profile, watched))


def _profiles_of(declared: Declared) -> Iterator[tuple[Location, str]]:
    """Yield each name of a profile with its place."""
    for field, rules in (("buckets", declared.buckets), ("tables", declared.tables)):
        for place, each in enumerate(rules):
            if each.profile is not None:
                yield (field, place, "profile"), each.profile
    yield from ((("options", name), name) for name in declared.options if name != WITHOUT_PROFILE)
    if declared.uploads is not None:
        yield ("uploads", "profile"), declared.uploads.profile


def _loops(profile: Profile, watched: Sequence[str]) -> Iterator[str]:
    """Describe outputs that would cause an event and be processed again."""
    try:
        refuse_overlap(profile, watched)
    except DestinationOverlap as error:
        yield _in_one_line(error)


def _in_one_line(error: ProfileError) -> str:
    text = " ".join(f"{error.message} {error.remedy or ''}".split())
    return text[:1].lower() + text[1:].removesuffix(".")
