"""The base class of the errors of ittybatch."""


class IttybatchError(Exception):
    """An error that a user can act on.

    Args:
        message: What happened, and to which item or field.
        remedy: What to do next, with the exact command if possible.

    Attributes:
        record: Number of the record of the action that it refused or interrupted; None if that
            was not recorded.
    """

    record: int | None = None

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class ConfigurationError(IttybatchError):
    """A setting is missing or cannot be used."""
