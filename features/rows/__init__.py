"""The features of rows from records or tables, by one compiled kernel: its tables, what it writes, and how rows reach it."""
