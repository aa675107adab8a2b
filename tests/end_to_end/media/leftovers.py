"""Everything that a running installation leaves behind, searched for what nobody may find."""

import mmap
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
from psycopg import sql

# Text is looked for as it is, and as a bytea column or a hex dump would show it.
Needles = Mapping[str, bytes]


def needles(secrets: Mapping[str, str]) -> Needles:
    """What to look for, by what it is called where it is found."""
    plain = {name: text.encode() for name, text in secrets.items()}
    return plain | {f"{name}, in hex": text.hex().encode() for name, text in plain.items()}


def in_files(folder: Path, wanted: Needles) -> Iterator[tuple[Path, str]]:
    """Files below a folder that hold something wanted, with what it is."""
    for path in folder.rglob("*"):
        try:
            described = path.lstat()
            if not stat.S_ISREG(described.st_mode) or not described.st_size:
                continue
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
                yield from ((path, name) for name, text in wanted.items() if m.find(text) >= 0)
        except FileNotFoundError:
            continue  # it was temporary


def readable_by_others(path: Path) -> bool:
    """Whether anybody but the owner could read a file, by its own mode."""
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def in_database(url: str, wanted: Needles) -> Iterator[tuple[str, str]]:
    """Tables with a row that holds something wanted in any column, with what it is."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE'"
            " AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert tables
        for schema, table in tables:
            query = sql.SQL("SELECT count(*) FROM {} AS r WHERE strpos(r::text, %s) > 0").format(
                sql.Identifier(schema, table)
            )
            for name, text in wanted.items():
                if connection.execute(query, [text.decode()]).fetchone() != (0,):
                    yield f"{schema}.{table}", name


def in_command_lines(wanted: Needles) -> Iterator[tuple[str, str]]:
    """Processes whose command line, which every user of the machine may see, holds it."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,args="], check=True, capture_output=True
    ).stdout
    for line in listed.splitlines():
        for name, text in wanted.items():
            if text in line and str(os.getpid()).encode() != line.split()[0]:
                yield line.decode(errors="replace"), name
