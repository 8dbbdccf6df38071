"""Files of tables: CSV, Parquet and JSON Lines, read within limits and written at once."""
