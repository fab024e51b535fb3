"""`render`: pictures from the stored table and the source images, without inference. Read `render.py` first."""
