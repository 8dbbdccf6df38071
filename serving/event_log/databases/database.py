"""Database of the event log, chosen by URL: SQLite (default) or PostgreSQL (`serving.event_log.databases.postgres`).

Database errors become errors of npsrisk, without passwords and without values of statements.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url

from consignments.errors import BadSetting, ServiceFault
from serving.event_log.databases.backend import URL_SETTING, EntryWriter, LogWriter, describe_error
from serving.event_log.databases.tables import ENTRIES, METADATA

OLD_TABLES = {"events", "blocks"}  # tables of logs that this version cannot read
EXPORTING_VERSION = "npsrisk of commit 049ba582"  # the last version that reads them
EXPECTED_URL = "sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE, with %40 for an @ in a password"


@contextmanager
def use_database(url: str) -> Iterator[URL]:
    """Parse a database URL, and convert database errors inside the context to errors of npsrisk."""
    address = _parse_address(url)
    try:
        yield address
    except ImportError as error:
        raise BadSetting(
            "the database driver is not installed",
            where=URL_SETTING,
            got=error.name or "",
            todo="install npsrisk with its extra 'postgres' (docs/install.md)",
        ) from error
    except sa.exc.SQLAlchemyError as error:
        raise ServiceFault(
            "the event log cannot be opened",
            where=mask_password(address),
            got=describe_error(error),
            todo="check that the database exists, can be written, and has free space",
        ) from error


def _parse_address(url: str) -> URL:
    try:
        address = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise _bad_address("text that cannot be parsed as a URL") from None
    if address.drivername in ("postgresql", "postgresql+psycopg"):
        address = address.set(drivername="postgresql+psycopg")
    elif address.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise _bad_address("another database or driver")
    if "@" in (address.host or ""):
        raise _bad_address("a host name with an @")
    return address


def _bad_address(got: str) -> BadSetting:
    return BadSetting("the database URL is not valid", where=URL_SETTING, got=got, expected=EXPECTED_URL)


def find_sqlite_path(url: str) -> Path | None:
    """Return the file of the URL of an SQLite database; None for another database."""
    address = _parse_address(url)
    return Path(address.database or "") if address.get_backend_name() == "sqlite" else None


def mask_password(address: URL) -> str:
    """Format a database URL without its password, wherever the password occurs in it."""
    parts = address.drivername, address.username, None, address.host, address.port, address.database
    return URL.create(*parts).render_as_string()


def _get_backend(name: str) -> type[EntryWriter]:
    """Return the backend of a kind of database, of which only the one in use is loaded."""
    if name == "postgresql":
        from serving.event_log.databases.postgres import PostgresWriter

        return PostgresWriter
    from serving.event_log.databases.sqlite import SqliteWriter

    return SqliteWriter


def open_engine(address: URL, *, read_only: bool = False) -> sa.Engine:
    """Create the engine for connections to a database."""
    return _get_backend(address.get_backend_name()).open_engine(address, read_only=read_only)


def create_writer(engine: sa.Engine) -> EntryWriter:
    """Create the writer of entries for the kind of database of the engine."""
    return _get_backend(engine.dialect.name)(engine)


def find_log_writer(url: str) -> LogWriter | None:
    """Find the process that writes a log; None if there is none, or if the database cannot tell."""
    with use_database(url) as address:
        engine = open_engine(address, read_only=True)
        writer = create_writer(engine)
        try:
            return writer.find_writer()
        finally:
            writer.release()
            engine.dispose()


def migrate(connection: Connection, where: str) -> None:
    """Create the tables that are missing, and add the columns of the row that the table of entries lacks; `where` names the database."""
    before = set(sa.inspect(connection).get_table_names())
    refuse_old_tables(before, where)
    METADATA.create_all(connection)
    if ENTRIES.name not in before:
        for statement in _get_backend(connection.dialect.name).layout:
            connection.exec_driver_sql(statement)
    known = _list_columns(connection)
    for column in ENTRIES.columns:
        if column.name not in known:
            kind = column.type.compile(connection.dialect)
            connection.exec_driver_sql(f'ALTER TABLE {ENTRIES.name} ADD COLUMN "{column.name}" {kind}')


def require_tables(engine: sa.Engine, where: str) -> None:
    """Raise `BadSetting` if a database has no log, or one of another version; `where` names it."""
    found = set(sa.inspect(engine).get_table_names())
    refuse_old_tables(found, where)
    if not METADATA.tables.keys() <= found:
        raise BadSetting(
            "there is no event log",
            where=URL_SETTING,
            got=where,
            todo="start npsrisk serve once, or set it to the database of the service, or NPSRISK_STATE_DIR to its directory",
        )
    lacks = {*ENTRIES.columns.keys()} - _list_columns(engine)
    if lacks:
        raise BadSetting(
            "the event log is one of an earlier version",
            where=URL_SETTING,
            got=f"{where} without {', '.join(sorted(lacks))}",
            todo="copy the database, then start the service once: it adds what is missing",
        )


def _list_columns(database: sa.Engine | Connection) -> set[str]:
    return {column["name"] for column in sa.inspect(database).get_columns(ENTRIES.name)}


def refuse_old_tables(found: set[str], where: str) -> None:
    """Raise `BadSetting` if a database has the tables of a log that this version cannot read."""
    if found & OLD_TABLES:
        raise BadSetting(
            "the event log was written by an earlier version of npsrisk, whose tables are not read any more",
            where=URL_SETTING,
            got=where,
            expected="a log of this version, or an empty database",
            todo=f"export it with {EXPORTING_VERSION}, and import the tables into a new log (docs/install.md)",
        )
