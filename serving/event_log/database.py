"""Where a log is kept: SQLite by default, PostgreSQL (`serving.event_log.postgres`) by address; what either says becomes our errors.

No password and no value of a statement gets into an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from consignments.errors import BadSetting, ServiceFault
from serving.event_log.backend import URL_SETTING, TableWriter, describe_error

LATEST_REVISION = "0001"
"""Of `serving.event_log.migrations`: the revision that `migrate` brings the tables to."""
EXPECTED_URL = "sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE, with %40 for an @ in a password"


@contextmanager
def use_database(url: str) -> Iterator[URL]:
    """Take an address apart, and turn what its database says into the errors of npsrisk.

    Raises
    ------
    BadSetting
        For an address that means nothing, or a database that there is no driver for.
    ServiceFault
        Where the database cannot be used.
    """
    address = _parse_address(url)
    try:
        yield address
    except ImportError as error:
        raise BadSetting(
            "the driver of this database is not installed",
            where=URL_SETTING,
            got=error.name or "",
            todo="pip install 'npsrisk[postgres]'",
        ) from error
    except sa.exc.SQLAlchemyError as error:
        raise ServiceFault(
            "the event log cannot be opened",
            where=mask_password(address),
            got=describe_error(error),
            todo="check that the database is there, may be written, and has room",
        ) from error


def _parse_address(url: str) -> URL:
    try:
        address = make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise _bad_address(error.__class__.__name__) from None
    if address.drivername in ("postgresql", "postgresql+psycopg"):
        address = address.set(drivername="postgresql+psycopg")
    elif address.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise _bad_address("another kind of database")
    if "@" in (address.host or ""):
        raise _bad_address("a host with an @ in it")
    return address


def _bad_address(got: str) -> BadSetting:
    return BadSetting("not a database that can be used", where=URL_SETTING, got=got, expected=EXPECTED_URL)


def mask_password(address: URL) -> str:
    """Show an address without its password, wherever in it that stands."""
    parts = address.drivername, address.username, None, address.host, address.port, address.database
    return URL.create(*parts).render_as_string()


def open_engine(address: URL, *, read_only: bool = False) -> sa.Engine:
    """Prepare for connections to a database."""
    if address.get_backend_name() == "postgresql":
        from serving.event_log.postgres import open_postgres

        return open_postgres(address, read_only=read_only)
    from serving.event_log.sqlite import open_sqlite

    return open_sqlite(address, read_only=read_only)


def create_writer(engine: sa.Engine, table: sa.Table) -> TableWriter:
    """Give what writes a table of this database."""
    if engine.dialect.name == "postgresql":
        from serving.event_log.postgres import PostgresWriter

        return PostgresWriter(engine, table)
    from serving.event_log.sqlite import SqliteWriter

    return SqliteWriter(engine, table)


def migrate(engine: sa.Engine) -> None:
    """Bring the tables up to date, made anew where there are none."""
    if _revision(engine) == LATEST_REVISION:
        return
    # Loaded only where tables have to change: a restart does not wait for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "serving.event_log:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(engine: sa.Engine) -> str | None:
    """Give the revision that the tables have; None where there are none."""
    if not sa.inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect() as connection:
        found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def wipe(engine: sa.Engine, table: sa.Table) -> None:
    """Let go of the bytes of what was removed from a table, as far as the database can."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f'VACUUM "{table.name}"')
        else:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
