"""Plain figures for papers, beside the report."""
