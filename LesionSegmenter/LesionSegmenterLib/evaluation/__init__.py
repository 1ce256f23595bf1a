"""What the scores of many cases say together: tables, statistics, and one report to read."""
