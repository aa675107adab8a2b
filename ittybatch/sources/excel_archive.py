"""What a file is that should be a workbook, and whether it is safe to unpack."""

import zipfile
from typing import IO

# openpyxl loads shared strings and styles into memory as a whole, but not sheets.
_MAX_PART_BYTES = 256 * 1024 * 1024
_MAX_SHEET_BYTES = 2 * 1024 * 1024 * 1024
# Sheets compress to a tenth or a thirtieth. A higher ratio is a decompression bomb.
_MAX_RATIO = 200
_MANY_BYTES = 16 * 1024 * 1024
_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"
_STRICT = b"purl.oclc.org/ooxml"
_WORKBOOK = "xl/workbook.xml"
_SAVE_AS = "save it as `Excel Workbook (.xlsx)`"
# Archives of other programs, by a part that each of them has.
_OTHERS = {
    "xl/workbook.bin": f"it is a binary workbook (.xlsb); {_SAVE_AS}",
    "content.xml": f"it is an OpenDocument sheet (.ods); {_SAVE_AS}",
    "Index/Document.iwa": "it is a Numbers document; export it as Excel or CSV",
    "word/document.xml": "it is a Word document; put the rows into a workbook",
}


def check_workbook(file: IO[bytes]) -> None:
    """Refuse other files, and workbooks that unpack to too much.

    Args:
        file: The file, seekable; afterwards it is at its beginning.

    Raises:
        ValueError: The message says what the file is, and what to do.
    """
    beginning = file.read(4)
    file.seek(0)
    if beginning == _OLD_OR_ENCRYPTED:
        raise ValueError(f"it is encrypted, or an old .xls; {_SAVE_AS} without a password")
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            names = set(archive.namelist())
            beginning = b""
            if _WORKBOOK in names:
                with archive.open(_WORKBOOK) as workbook:
                    beginning = workbook.read(4096)
    except Exception as error:
        # Depending on the damage, zipfile raises its own errors, zlib's, and others.
        raise ValueError(f"it is no Excel workbook, or damaged: {error}") from error
    file.seek(0)
    for part in parts:
        _check_part(part)
    for name, what in _OTHERS.items():
        if name in names and _WORKBOOK not in names:
            raise ValueError(what)
    if _STRICT in beginning:
        raise ValueError(f"it is a `Strict Open XML` workbook; {_SAVE_AS}")


def _check_part(part: zipfile.ZipInfo) -> None:
    is_sheet = part.filename.startswith("xl/worksheets/")
    most = _MAX_SHEET_BYTES if is_sheet else _MAX_PART_BYTES
    if part.file_size > most:
        raise ValueError(f"its part {part.filename} has more than {most} bytes unpacked")
    if part.file_size > max(_MANY_BYTES, part.compress_size * _MAX_RATIO):
        raise ValueError(
            f"its part {part.filename} unpacks to {part.file_size} bytes from "
            f"{part.compress_size}, as no workbook does"
        )
