"""What can be said of a workbook before it is read: whether it is one, and how large it gets."""

import zipfile
from typing import IO

# Shared texts, styles and the like are held in memory as a whole; sheets are not.
MAX_PART_BYTES = 256 * 1024 * 1024
MAX_SHEET_BYTES = 2 * 1024 * 1024 * 1024
# Sheets shrink to a tenth or a thirtieth; what shrinks to less is made to burst.
MAX_RATIO = 200
_MANY_BYTES = 16 * 1024 * 1024

_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"
_STRICT = b"purl.oclc.org/ooxml"
_WORKBOOK = "xl/workbook.xml"
_SAVE_AS = "save it as `Excel Workbook (.xlsx)`"
# Other programs' archives, by a part that each of them has.
_OTHERS = {
    "xl/workbook.bin": f"it is a binary workbook (.xlsb); {_SAVE_AS}",
    "content.xml": f"it is an OpenDocument sheet (.ods); {_SAVE_AS}",
    "Index/Document.iwa": "it is a Numbers document; export it as Excel or CSV",
    "word/document.xml": "it is a Word document; put the rows into a workbook",
}


def check_workbook(file: IO[bytes]) -> None:
    """Refuse what is no workbook, and one that is made to burst.

    Args:
        file: The workbook, seekable; it stands at its beginning afterwards.

    Raises:
        ValueError: Saying what it is, and what to do.
    """
    beginning = file.read(4)
    file.seek(0)
    if beginning == _OLD_OR_ENCRYPTED:
        raise ValueError(f"it is encrypted, or an old .xls; {_SAVE_AS} without a password")
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            beginning = b""
            if _WORKBOOK in archive.namelist():
                with archive.open(_WORKBOOK) as workbook:
                    beginning = workbook.read(4096)
    except Exception as error:
        # zipfile raises zlib's errors, its own, and others, as the damage is.
        raise ValueError(f"it is no Excel workbook, or damaged: {error}") from error
    file.seek(0)
    _check_parts(parts)
    names = {part.filename for part in parts}
    for name, what in _OTHERS.items():
        if name in names and _WORKBOOK not in names:
            raise ValueError(what)
    if _STRICT in beginning:
        raise ValueError(f"it is a `Strict Open XML` workbook; {_SAVE_AS}")


def _check_parts(parts: list[zipfile.ZipInfo]) -> None:
    for part in parts:
        is_sheet = part.filename.startswith("xl/worksheets/")
        most = MAX_SHEET_BYTES if is_sheet else MAX_PART_BYTES
        if part.file_size > most:
            raise ValueError(f"its part {part.filename} has more than {most} bytes unpacked")
        if part.file_size > max(_MANY_BYTES, part.compress_size * MAX_RATIO):
            raise ValueError(
                f"its part {part.filename} unpacks to {part.file_size} bytes from "
                f"{part.compress_size}, as no workbook does"
            )
