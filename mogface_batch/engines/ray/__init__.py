"""The stages as a Ray Data job: the only home of Ray. Read `driver.py` first."""
