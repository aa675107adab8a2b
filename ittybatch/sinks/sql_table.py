"""A table of the user's: its columns as the database describes them, and the statements for it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Inspector,
    MetaData,
    Table,
    UpdateBase,
    and_,
    bindparam,
    inspect,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import NullType, TypeEngine

from ittybatch.sinks.sql_types import convert

# Columns that only the ledger's own table `jobs` has.
_LEDGER = frozenset({"chunk_id", "job_key", "item_number"})
# Prefix of the key's parameters, so that they do not collide with the columns' own.
_KEY = "ittybatch_key_"


class UnusableTable(Exception):
    """The table or its columns are not as `results.yaml` declares them."""


class TargetTable:
    """A reflected table, and the rows for it.

    Args:
        connection: A connection to its database.
        name: The table's name.
        schema: Its schema; None for the default one.
        key: The names of the key's columns.
        columns: The names of the other columns to write.
        upsert: Whether rows may be inserted.

    Attributes:
        unique: Whether a key identifies one row at most.

    Raises:
        UnusableTable: The table or a column is missing, or an upsert has no unique key.
        SQLAlchemyError: The database cannot be read.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        schema: str | None,
        key: Iterable[str],
        columns: Iterable[str],
        *,
        upsert: bool,
    ) -> None:
        self.key = tuple(key)
        self.upsert = upsert
        self._dialect = connection.dialect.name
        inspector = inspect(connection)
        self._table = _reflect(inspector, name, schema, (*self.key, *columns))
        unique, wanted = list(_unique_columns(inspector, self._table)), set(self.key)
        self.unique = any(columns <= wanted for columns in unique)
        if upsert and wanted not in unique:
            listing = ", ".join(self.key)
            raise UnusableTable(
                f"mode is upsert, and the table {self._table.fullname} has no primary key or "
                f"unique index on ({listing}): add one, or use `mode: update`"
            )

    def row(self, key: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
        """Convert values to the columns' types.

        Raises:
            ValueError: A value cannot be converted. The message names the column.
        """
        row = {}
        for name, value in {**columns, **key}.items():
            try:
                row[name] = convert(
                    value,
                    self._table.c[name].type,
                    others_as_text=self._dialect == "postgresql",
                )
            except ValueError as error:
                raise ValueError(f"column {name}: {error}") from None
        return row

    def key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values of the row's key."""
        return tuple(row[name] for name in self.key)

    def statement(self, columns: Iterable[str]) -> UpdateBase:
        """The statement that writes rows with these columns; its parameters are `parameters()`."""
        names = [name for name in columns if name not in self.key]
        if self.upsert:
            return self._upsert(names)
        return update(self._table).where(
            and_(*(self._table.c[name] == bindparam(_KEY + name) for name in self.key))
        )

    def parameters(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of `statement()` for a row."""
        if self.upsert:
            return dict(row)
        return {_KEY + name if name in self.key else name: row[name] for name in row}

    def _upsert(self, names: Sequence[str]) -> UpdateBase:
        if self._dialect in {"mysql", "mariadb"}:
            insert = mysql.insert(self._table)
            # Assigning the key to itself changes nothing, where there is nothing else to assign.
            changed = names or self.key
            return insert.on_duplicate_key_update({name: insert.inserted[name] for name in changed})
        if self._dialect == "postgresql":
            on_postgres = postgresql.insert(self._table)
            if not names:
                return on_postgres.on_conflict_do_nothing(index_elements=self.key)
            return on_postgres.on_conflict_do_update(
                index_elements=self.key, set_={name: on_postgres.excluded[name] for name in names}
            )
        on_sqlite = sqlite.insert(self._table)
        if not names:
            return on_sqlite.on_conflict_do_nothing(index_elements=self.key)
        return on_sqlite.on_conflict_do_update(
            index_elements=self.key, set_={name: on_sqlite.excluded[name] for name in names}
        )


def _reflect(inspector: Inspector, name: str, schema: str | None, wanted: Sequence[str]) -> Table:
    full = f"{schema}.{name}" if schema else name
    try:
        found = {column["name"]: column["type"] for column in inspector.get_columns(name, schema)}
    except NoSuchTableError:
        raise UnusableTable(f"there is no table {full}") from None
    if found.keys() >= _LEDGER:
        raise UnusableTable(
            f"{full} is a table of ittybatch's own ledger: put the ledger (DATABASE_URL) and your "
            "tables into different databases or schemas"
        )
    if missing := [column for column in wanted if column not in found]:
        raise UnusableTable(
            f"the table {full} has no column {', '.join(missing)} (it has: {', '.join(found)})"
        )
    columns = [Column(each, _type_of(found[each])) for each in dict.fromkeys(wanted)]
    return Table(name, MetaData(), *columns, schema=schema)


def _type_of(reflected: TypeEngine[Any]) -> TypeEngine[Any]:
    if isinstance(reflected, JSON):
        # Otherwise nothing would be the JSON value `null`, which is not NULL.
        reflected.none_as_null = True
    # What SQLite reports for the types it does not know, such as TIMESTAMPTZ and UUID.
    return NullType() if type(reflected) is sqlite.NUMERIC else reflected


def _unique_columns(inspector: Inspector, table: Table) -> Iterator[set[str]]:
    """Yield each set of columns that identifies a row, by a primary key or a unique index."""
    name, schema = table.name, table.schema
    found = [inspector.get_pk_constraint(name, schema)["constrained_columns"]]
    found += [each["column_names"] for each in inspector.get_unique_constraints(name, schema)]
    for columns in found:
        if columns:
            yield set(columns)
    for each in inspector.get_indexes(name, schema):
        # A partial index finds only some rows, and an expression is no column.
        partial = any(option.endswith("_where") for option in each.get("dialect_options", {}))
        columns = [column for column in each["column_names"] if column is not None]
        if each["unique"] and not partial and len(columns) == len(each["column_names"]):
            yield set(columns)
