"""The parts of `side_by_side.py`: what runs, what it runs with, what asks it, and how the figures are taken."""
