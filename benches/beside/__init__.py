"""The parts of `side_by_side.py`: processes, configurations, loads, scenarios and tables."""
