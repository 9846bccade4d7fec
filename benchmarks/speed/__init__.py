"""The parts of performance.py: cases and their data, running programs, judging estimates, results, the page."""
