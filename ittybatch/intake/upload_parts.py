"""How a file is cut into the parts of a multipart upload."""

from dataclasses import dataclass
from math import ceil

MIB = 1024**2
# Smaller files are one request: a lost connection costs at most this much again.
MULTIPART_ABOVE = 100 * 1000**2
# Limits of S3. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MAX_PARTS = 10_000
MAX_SIZE = 5 * 1024**4
MIN_PART = 5 * MIB
# Few enough requests for a fast line, little enough to send again over a slow one.
_PART = 16 * MIB


@dataclass(frozen=True, slots=True)
class Part:
    """One part: a range of the file, and its number, which begins at 1."""

    number: int
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a file. All but the last have the same size.

    Args:
        size_bytes: Size of the file.
        part_bytes: Size of a part.
    """

    size_bytes: int
    part_bytes: int

    @property
    def count(self) -> int:
        """How many there are."""
        return ceil(self.size_bytes / self.part_bytes)

    def after(self, number: int, most: int) -> list[Part]:
        """Return the parts that follow a number, which is 0 for the first ones.

        Args:
            number: Number of the part before them.
            most: How many to return at most.
        """
        numbers = range(number + 1, min(number + most, self.count) + 1)
        return [self._part(each) for each in numbers]

    def _part(self, number: int) -> Part:
        offset = (number - 1) * self.part_bytes
        return Part(number, offset, min(self.part_bytes, self.size_bytes - offset))


def cut(size_bytes: int) -> Parts:
    """Choose the parts of a file: one if it is small, else 16 MiB, or more for a huge file."""
    if size_bytes <= MULTIPART_ABOVE:
        return Parts(size_bytes, size_bytes)
    least = ceil(size_bytes / MAX_PARTS / MIB) * MIB
    return Parts(size_bytes, max(_PART, least))
