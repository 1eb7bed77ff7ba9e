"""The sections of the report that speak of numbers: words, tables and figures as plain data."""
