"""Run the stages as a Ray Data job. The only package that imports Ray; read `engine.py`, then `driver.py`."""
