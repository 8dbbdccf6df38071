"""Database of the event log, chosen by URL: SQLite (default) or PostgreSQL (`serving.event_log.databases.postgres`).

Database errors become errors of npsrisk, without passwords and without values of statements.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from consignments.errors import BadSetting, ServiceFault
from serving.event_log.databases.backend import URL_SETTING, LogWriter, TableWriter, describe_error
from serving.event_log.databases.tables import BLOCKS

LATEST_REVISION = "0003"
"""Revision in `serving.event_log.migrations` that `migrate` brings the tables to."""
ROWS_REVISION = "0001"
"""Revision with one row for each entry, whose table is dropped."""
EXPECTED_URL = "sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE, with %40 for an @ in a password"


@contextmanager
def use_database(url: str) -> Iterator[URL]:
    """Parse a database URL, and convert database errors inside the context to errors of npsrisk.

    Raises
    ------
    BadSetting
        The URL is not valid, or the driver of the database is not installed.
    ServiceFault
        The database cannot be used.
    """
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


def mask_password(address: URL) -> str:
    """Format a database URL without its password, wherever the password occurs in it."""
    parts = address.drivername, address.username, None, address.host, address.port, address.database
    return URL.create(*parts).render_as_string()


def open_engine(address: URL, *, read_only: bool = False) -> sa.Engine:
    """Create the engine for connections to a database."""
    if address.get_backend_name() == "postgresql":
        from serving.event_log.databases.postgres import open_postgres

        return open_postgres(address, read_only=read_only)
    from serving.event_log.databases.sqlite import open_sqlite

    return open_sqlite(address, read_only=read_only)


def create_writer(engine: sa.Engine, table: sa.Table) -> TableWriter:
    """Create the writer of a table for the kind of database of the engine."""
    if engine.dialect.name == "postgresql":
        from serving.event_log.databases.postgres import PostgresWriter

        return PostgresWriter(engine, table)
    from serving.event_log.databases.sqlite import SqliteWriter

    return SqliteWriter(engine, table)


def find_log_writer(url: str) -> LogWriter | None:
    """Find the process that writes a log; None if there is none, or if the database cannot tell.

    Raises
    ------
    BadSetting
        The database URL is not valid.
    ServiceFault
        The database cannot be used.
    """
    with use_database(url) as address:
        engine = open_engine(address, read_only=True)
        writer = create_writer(engine, BLOCKS)
        try:
            return writer.find_writer()
        finally:
            writer.release()
            engine.dispose()


def migrate(engine: sa.Engine) -> None:
    """Migrate the tables to the latest revision, completely or not at all; create them if there are none."""
    found = _revision(engine)
    if found == LATEST_REVISION:
        return
    # Loaded only if tables must change, so that a restart does not wait for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "serving.event_log:migrations")
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(
                "BEGIN IMMEDIATE"
            )  # else each change of a table would be its own transaction
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    if found == ROWS_REVISION:
        _release_space(engine)


def _release_space(engine: sa.Engine) -> None:
    """Return the space of tables that a migration dropped, which needs as much free space as the log has then."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _revision(engine: sa.Engine) -> str | None:
    """Return the revision of the tables; None if there are none."""
    if not sa.inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect() as connection:
        found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def wipe(engine: sa.Engine, table: sa.Table) -> None:
    """Release the bytes of rows removed from a table, as far as the database supports it."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f'VACUUM "{table.name}"')
        else:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
