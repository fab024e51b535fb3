"""The options of each benchmark, one module each: `add` (options and help) and `measure_table` (check them, measure)."""
