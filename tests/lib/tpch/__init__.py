"""TPC-H: its tables from a generator of our own (`data`), and its 22 queries (`queries`)."""
