"""Manifests to plan: mostly sound rows, some that are bad in ten different ways."""

from pathlib import Path

BAD_PERCENT = 3

_HEADER = "input,kind,options,size_bytes,metadata.show\n"
_BAD = (
    ",video,,1,1",
    "ftp://h/{n}.mov,,,1,1",
    "s3://media,,,1,1",
    "s3://m/{n}.mov,,,1,1",
    "s3://media/{n}.mov,vidio,,1,1",
    "s3://media/{n}.mov,video,{{,1,1",
    's3://media/{n}.mov,audio,"{{""width"": 1}}",1,1',
    "/home/me/{n}.mov,,,1,1",
    "s3://media/\x1b{n}.mov,,,1,1",
    "s3://media/{n}.mov,,,1,1,one more",
)


def write_manifest(path: Path, rows: int) -> int:
    """Write a CSV manifest.

    Args:
        path: Where to.
        rows: Rows below the header, good and bad.

    Returns:
        How many of them are bad.
    """
    bad = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEADER)
        for number in range(rows):
            if number % 100 < BAD_PERCENT:
                file.write(_BAD[bad % len(_BAD)].format(n=number) + "\n")
                bad += 1
                continue
            asked = (
                f'video,"{{""width"": {640 + number % 3 * 2}, ""format"": ""mp4""}}"'
                if number % 5 == 0
                else ","
            )
            file.write(
                f"s3://media/library/{number // 5000:04}/clip-{number:08}.mov,{asked},"
                f"{1000 + number},Show {number % 50}\n"
            )
    return bad
