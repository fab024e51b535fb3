"""Run the stages as a Ray Data job. The only package that imports Ray; read `ray_engine.py`, then `driver.py`."""
