"""The demo: composes a small folder of varied images, annotates it with the real command, and prints the results.

    make demo                            installs the packages with the photos, then runs this
    python jobs/demo.py [--out out/demo]

The faces are NASA's astronaut Eileen Collins (scikit-image) and Rear Admiral Grace Hopper (US Navy; Matplotlib);
the photos without a face are scikit-image's. All are in the public domain or CC0. The photos are read from the
installed packages, which are never imported: they are installed without their dependencies.
"""

import argparse
import io
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageEnhance, ImageOps

Photo = Image.Image
Photos = dict[str, Photo]

EXIT_USAGE = 2
BROKEN = "broken/truncated.jpg"
CONFIG = Path(__file__).resolve().parents[1] / "configs/demo.yaml"

_PHOTOS = {
    "collins": ("scikit-image", "skimage/data/astronaut.png"),
    "cat": ("scikit-image", "skimage/data/chelsea.png"),
    "coffee": ("scikit-image", "skimage/data/coffee.png"),
    "rocket": ("scikit-image", "skimage/data/rocket.jpg"),
    "galaxies": ("scikit-image", "skimage/data/hubble_deep_field.jpg"),
    "hopper": ("matplotlib", "matplotlib/mpl-data/sample_data/grace_hopper.jpg"),
}
# Left, top, right, bottom: head and shoulders, of one shape, so that rows of them look like a crowd.
_HEADS = {"collins": (102, 0, 352, 300), "hopper": (90, 10, 440, 430)}
_HEAD_WIDTH_PER_HEIGHT = 250 / 300

_MARKER = ".mogface-batch-demo"
_EXIF_ORIENTATION = 0x0112
# How upright pixels must be stored, so that a reader that applies the tag (1 to 8) turns them upright.
_STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class DemoError(Exception):
    """The demo cannot start; the text says what to do."""


def compose(folder: Path) -> list[Path]:
    """Write the demo's images into a folder and return their paths, sorted; always the same pixels.

    Raises:
        DemoError: A package with photos is not installed.
    """
    photos = _read_photos()
    written = [
        *_write_orientations(folder, photos["hopper"]),
        *_write_formats(folder, photos),
        *_write_sizes(folder, photos),
        *_write_crowds(folder, photos),
        *_write_without_faces(folder, photos),
        _write_broken(folder, photos["collins"]),
    ]
    return sorted(written)


def _read_photos() -> Photos:
    """Return the photos as RGB."""
    photos = {}
    for name, (package, path) in _PHOTOS.items():
        try:
            with Image.open(Path(str(distribution(package).locate_file(path)))) as photo:
                photos[name] = photo.convert("RGB")
        except (PackageNotFoundError, FileNotFoundError) as error:
            raise DemoError(
                f"The demo's photos come with the package {package}, and {path} is not there: type `make demo`, "
                "or `pip install --no-deps scikit-image matplotlib`, and run this again."
            ) from error
    return photos


def _save(photo: Photo, path: Path, **options: Any) -> Path:  # noqa: ANN401 - Pillow's own options
    """Write an image and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photo.save(path, **options)
    return path


def _write_orientations(folder: Path, portrait: Photo) -> list[Path]:
    """Write one portrait with each EXIF orientation; upright, all look the same."""
    written = []
    for orientation in range(1, 9):
        stored = portrait
        if orientation in _STORED_AS:
            stored = portrait.transpose(_STORED_AS[orientation])
        exif = Image.Exif()
        exif[_EXIF_ORIENTATION] = orientation
        path = folder / f"orientation/exif-{orientation}.jpg"
        written.append(_save(stored, path, exif=exif, quality=92, subsampling=0))
    return written


def _write_formats(folder: Path, photos: Photos) -> list[Path]:
    """Write portraits in the modes and formats that decoders meet."""
    collins, hopper = photos["collins"], photos["hopper"]
    # 257 maps 0..255 to 0..65535: a reader that keeps only the high byte gets the picture too.
    deep = Image.fromarray(np.asarray(collins.convert("L")).astype(np.uint16) * 257)
    return [
        _save(collins.convert("L"), folder / "formats/grey.jpg", quality=90),
        _save(deep, folder / "formats/grey-16-bit.png"),
        _save(_add_alpha(hopper), folder / "formats/alpha.png"),
        _save(collins, folder / "formats/photo.webp", quality=85, method=2),
        _save(hopper.convert("CMYK"), folder / "formats/cmyk.jpg", quality=90),
        _save(collins.quantize(128), folder / "formats/palette.png"),
    ]


def _add_alpha(photo: Photo) -> Photo:
    """Return the photo with an alpha band: an ellipse with a soft edge."""
    height, width = photo.height, photo.width
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip((1 - np.hypot(x, y)) * 6, 0, 1) * 255
    cut = photo.copy()
    cut.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    return cut


def _write_sizes(folder: Path, photos: Photos) -> list[Path]:
    """Write portraits of 200 to 2000 px, in a nested folder and under a name that must be quoted."""
    collins, hopper = photos["collins"], photos["hopper"]
    pair = _join_in_row([_crop_head(photos, "collins", 480), _crop_head(photos, "hopper", 480)])
    return [
        _save(hopper.resize((204, 239)), folder / "sizes/small.jpg", quality=90),
        _save(collins.resize((2000, 2000)), folder / "sizes/large.jpg", quality=85),
        _save(pair, folder / "nested/one/two/side by side, 100% natural.jpg", quality=90),
        _save(ImageOps.mirror(collins), folder / "nested/mirrored.png"),
    ]


def _crop_head(photos: Photos, name: str, height: int) -> Photo:
    """Return head and shoulders of a portrait, ``height`` px high."""
    cropped = photos[name].crop(_HEADS[name])
    return cropped.resize((round(height * _HEAD_WIDTH_PER_HEIGHT), height), Image.Resampling.LANCZOS)


def _join_in_row(photos: Iterable[Photo]) -> Photo:
    """Return photos of one height side by side."""
    return Image.fromarray(np.concatenate([np.asarray(photo) for photo in photos], axis=1))


def _write_crowds(folder: Path, photos: Photos) -> list[Path]:
    """Write crowds of 6, 20 and 60 faces: rows of heads that grow towards the viewer."""
    plans = {6: [2, 4], 20: [4, 7, 9], 60: [8, 10, 12, 14, 16]}
    return [
        _save(
            _compose_crowd(photos, rows=sorted(rows, reverse=True), width_px=width_px),
            folder / f"crowds/crowd-{faces}.jpg",
            quality=90,
        )
        for (faces, rows), width_px in zip(plans.items(), (1000, 1400, 1920), strict=True)
    ]


def _compose_crowd(photos: Photos, *, rows: list[int], width_px: int) -> Photo:
    """Return rows of heads, each as wide as the picture; fewer heads in a row are larger ones."""
    random = np.random.default_rng(seed=sum(rows))
    names = sorted(_HEADS)
    lines = []
    for row, heads in enumerate(rows):
        height = round(width_px / heads / _HEAD_WIDTH_PER_HEIGHT)
        line = _join_in_row(
            _vary(_crop_head(photos, names[(row + column) % len(names)], height), random)
            for column in range(heads)
        )
        lines.append(np.asarray(line.resize((width_px, height), Image.Resampling.LANCZOS)))
    return Image.fromarray(np.concatenate(lines))


def _vary(head: Photo, random: np.random.Generator) -> Photo:
    """Return a head a little brighter, darker or greyer, and perhaps mirrored."""
    if random.random() < 0.5:
        head = ImageOps.mirror(head)
    head = ImageEnhance.Brightness(head).enhance(random.uniform(0.75, 1.2))
    return ImageEnhance.Color(head).enhance(random.uniform(0.3, 1.2))


def _write_without_faces(folder: Path, photos: Photos) -> list[Path]:
    """Write photos without a face."""
    blank = Image.linear_gradient("L").resize((640, 360))
    names = ("cat", "coffee", "rocket", "galaxies")
    return [
        *(_save(photos[name], folder / f"no-face/{name}.jpg", quality=88) for name in names),
        _save(blank, folder / "no-face/blank.png"),
    ]


def _write_broken(folder: Path, photo: Photo) -> Path:
    """Write the first third of a JPEG, as an interrupted download leaves it."""
    encoded = io.BytesIO()
    photo.save(encoded, "JPEG", quality=90)
    path = folder / BROKEN
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.getvalue()[: len(encoded.getvalue()) // 3])
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return the job's exit code."""
    parser = argparse.ArgumentParser(
        description="Find the faces in a folder of photos that is composed for the demo."
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="default: %(default)s")
    out = parser.parse_args(argv).out
    images, faces = out / "images", out / "faces"
    try:
        _clear(out)
        composed = compose(images)
    except DemoError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    print(f"{len(composed)} images are in {images}, one of them broken on purpose.\n", flush=True)
    exit_code = _annotate(images, faces)
    rows = _read_rows(faces)
    if rows:
        print("\n".join(["", *_render_table(rows, images), "", *_list_results(faces)]))
    return exit_code


def _clear(out: Path) -> None:
    """Make the folder again; a folder that another program made is left alone."""
    marker = out / _MARKER
    if out.is_symlink() or (out.exists() and not marker.is_file()):
        raise DemoError(
            f"{out} exists and is not the output of an earlier demo, so it is left alone: "
            "remove it, or name another folder with --out."
        )
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    marker.write_text("jobs/demo.py removes this folder when it runs again.\n", encoding="utf-8")


def _annotate(images: Path, faces: Path) -> int:
    """Run the real command, as it would be typed, and return its exit code."""
    # Here, so that composing the images needs nothing of the package.
    from mogface_batch.cli import main as mogface_batch  # noqa: PLC0415

    typed = ["annotate", str(CONFIG), f"manifest.uri={images.resolve()}", f"output.uri={faces.resolve()}"]
    return mogface_batch(typed)


def _read_rows(faces: Path) -> list[dict[str, Any]]:
    """Return the rows of the output table by URI; none if the job made no table."""
    columns = ["uri", "status", "error_message", "width", "height", "faces"]
    parts = sorted((faces / "detections").glob("part-*.parquet"))
    rows = [row for part in parts for row in pq.ParquetFile(part).read(columns=columns).to_pylist()]
    return sorted(rows, key=lambda row: str(row["uri"]))


def _render_table(rows: list[dict[str, Any]], images: Path) -> list[str]:
    """Return the lines of the printed table, then the counts."""
    lines = [f"{'image':46} {'status':12} {'size':>11} {'faces':>5}  best score"]
    for row in rows:
        name = row["uri"].rpartition(f"{images.resolve().as_posix()}/")[2]
        if row["faces"] is None:
            lines.append(f"{name:46} {row['status']:12} {row['error_message']}")
            continue
        size = f"{row['width']} x {row['height']}"
        best = max((f"{face['score']:.3f}" for face in row["faces"]), default="-")
        lines.append(f"{name:46} {row['status']:12} {size:>11} {len(row['faces']):5}  {best}")
    statuses = Counter(row["status"] for row in rows)
    faces = sum(len(row["faces"] or ()) for row in rows)
    counted = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    return [*lines, "", f"{faces} faces in {len(rows)} images: {counted}."]


def _list_results(faces: Path) -> list[str]:
    """Return where the results are, one line for each that exists."""
    places = {
        "annotated": "the pictures with their faces drawn in",
        "detections": "the table above with every box, as Parquet",
        "run.json": "the counts and times of the job",
        "report.html": "the run as a page",
    }
    return [f"{faces / name}: {what}" for name, what in places.items() if (faces / name).exists()]


if __name__ == "__main__":
    sys.exit(main())
