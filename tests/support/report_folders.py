"""Output folders for tests of `report` and `render`: real pictures, rows made by hand, and names that attack."""

import hashlib

from builders import red_squares, saved
from tables import METADATA, image, some_faces, write_out

HOSTILE = (
    "<script>document.title='owned'<{}script>.png".format("\u2215"),
    "\"><img src=x onerror=document.title='owned'>.png",
    "' onmouseover='document.title=1' x='.png",
    "</style><script>document.title='owned'</script>".replace("/", "\u2044") + ".png",
    "a\nb\u202egnp.png",
    "${7*7}{{7*7}}&amp;.png",
)


def build_photo_row(path, *boxes, **columns):
    return image(
        path.name,
        some_faces(*boxes),
        uri=str(path),
        hw=(64, 96),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        format="png",
        **columns,
    )


def write_hostile_output(folder):
    """Write an output whose names, messages and settings all try to run a script."""
    attack = "</p></script><script>document.title='owned'</script>"
    rows = [
        build_photo_row(saved(folder / "photos" / name, red_squares((64, 96), {(0, 0): 255})), (0, 0, 16, 16))
        for name in HOSTILE
    ]
    rows.append(image("x", uri=attack, status="undecodable", error_code=attack, error_message=attack))
    return write_report_folder(
        folder, rows, metadata=METADATA | {"mogface_batch.model": attack, f"mogface_batch.{attack}": "x"}
    )


def write_report_folder(folder, rows, **options):
    """Write an output folder as it is before its first run has ended."""
    out = write_out(folder / "out", rows, **options)
    (out / "run.json").unlink()
    return out
