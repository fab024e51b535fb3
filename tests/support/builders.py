"""What tests are made of: a real contract file that finds red squares, pictures for it, and the real weights."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mogface_batch import models
from mogface_batch.config import JobConfig, load
from mogface_batch.contract import TOP_K, ModelCard
from mogface_batch.detector import read_model_file
from mogface_batch.errors import ModelError
from mogface_batch.export import graph
from mogface_batch.export.detectors.retinaface_wheel import RETINAFACE_NOT_INSTALLED, read_weights
from mogface_batch.stages.settings import Model

CELL_PX = 16
"""Side of a cell; a whole number of JPEG blocks, so that a red cell stays one through JPEG."""
LANDMARKS_FROM_CENTRE_PX = ((-3.0, -3.0), (3.0, -3.0), (0.0, 0.0), (-3.0, 3.0), (3.0, 3.0))


def tiny_card(**changed) -> ModelCard:
    """Return a valid card; any field can be changed."""
    fields = {
        "detector": "red-squares",
        "weights_source": "none",
        "weights_sha256": "0" * 64,
        "licence": "Apache-2.0",
        "stride": 1,
        "pad_rgb": (0, 0, 0),
        "default_canvas_hw": (64, 96),
        "score_threshold": 0.5,
        "nms_iou": 0.4,
        "exporter": graph.EXPORTER,
    }
    return ModelCard(**(fields | changed))


def tiny_detector(path: Path, *, landmarks: bool = True, stride: int = 1, **card) -> Path:
    """Write a contract file of about thirty small nodes that finds red squares, and return its path.

    The canvas is cut into cells of 16 x 16 px from the top left; each cell is one candidate, all of them leave the
    graph (up to 5000), best first, cells of equal score by row, then column:

    * score = mean(red - green) of the cell / 255, at least 0: a pure red cell of value v scores v / 255 (to 1e-6),
      grey, white, green and blue score 0. What lies outside the canvas counts as black.
    * box = the cell itself, exactly: cell (row, column) is [16 column, 16 row, 16 column + 16, 16 row + 16].
    * landmarks = the middle of the cell plus `LANDMARKS_FROM_CENTRE_PX`.

    So cells never overlap, and NMS drops nothing. Draw pictures for it with `red_squares`.

    Args:
        path: Written; its folder must be there.
        landmarks: Whether the file has that output.
        stride: What the card says; the graph itself takes any size.
        card: Fields of the card to change, such as ``default_canvas_hw=(32, 32)``.
    """
    builder = graph.GraphBuilder()
    shares = graph.normalise(builder, bgr=False, mean=(0, 0, 0), scale=1 / 255)
    kernel = np.zeros((1, 3, CELL_PX, CELL_PX), dtype=np.float32)
    kernel[0, 0], kernel[0, 1] = 1 / CELL_PX**2, -1 / CELL_PX**2
    beyond = CELL_PX - 1
    means = builder.add(
        "Conv", shares, builder.add_constant(kernel), strides=[CELL_PX, CELL_PX], pads=[0, 0, beyond, beyond]
    )
    scores = builder.add(
        "Clip",
        builder.add("Reshape", means, builder.add_integers([0, -1])),
        builder.add_floats(0),
        builder.add_floats(1),
    )
    anchors = graph.add_grid_anchors(
        builder, graph.read_canvas_hw(builder), stride=CELL_PX, sides_px=[CELL_PX]
    )
    zeros = builder.add(
        "Mul", builder.add("Reshape", scores, builder.add_integers([0, 0, 1])), builder.add_floats(0)
    )
    best = graph.choose_candidates(builder, scores, top_k=TOP_K)
    anchors, zeros = (
        graph.gather_anchors(builder, best, anchors),
        graph.gather_candidates(builder, best, zeros, columns=1),
    )
    boxes = graph.decode_boxes(
        builder, anchors, builder.add("Tile", zeros, builder.add_integers([1, 1, 4])), variances=(1, 1)
    )
    points = None
    if landmarks:
        offsets = builder.add(
            "Add", zeros, builder.add_floats(np.array(LANDMARKS_FROM_CENTRE_PX).ravel() / CELL_PX)
        )
        points = graph.decode_landmarks(builder, anchors, offsets, variance=1)
    graph.name_outputs(builder, boxes=boxes, landmarks=points)
    path.write_bytes(graph.build_contract_file(builder, tiny_card(stride=stride, **card)))
    return path


def red_squares(hw: tuple[int, int], values: Mapping[tuple[int, int], int], *, cell_px: int = CELL_PX):
    """Return (H, W, 3) uint8 RGB: black, with each cell (row, column) of ``values`` red of that value.

    With ``cell_px=32`` a letterbox of scale 0.5 makes one cell of the detector of each.
    """
    picture = np.zeros((*hw, 3), dtype=np.uint8)
    for (row, column), value in values.items():
        top, left = row * cell_px, column * cell_px
        picture[top : top + cell_px, left : left + cell_px, 0] = value
    return picture


def crowd(image_hw: tuple[int, int], count: int, seed: int = 1) -> dict[tuple[int, int], int]:
    """Return cells for `red_squares` in an image of this size, brightest first."""
    random = np.random.default_rng(seed)
    cells = random.permutation(
        [(row, column) for row in range(image_hw[0] // CELL_PX) for column in range(image_hw[1] // CELL_PX)]
    )
    return {(int(row), int(column)): 255 - number for number, (row, column) in enumerate(cells[:count])}


def cell_box(row: int, column: int, *, cell_px: int = CELL_PX) -> list[float]:
    """Return x1 y1 x2 y2 of a cell."""
    return [column * cell_px, row * cell_px, (column + 1) * cell_px, (row + 1) * cell_px]


def retinaface_weights() -> bytes:
    """Return the real weights; skip the test where they are not installed."""
    try:
        return read_weights()
    except ModelError as error:
        if str(error) != RETINAFACE_NOT_INSTALLED:
            raise
        pytest.skip(str(error))


def saved(path: Path, pixels, **options) -> Path:
    """Write RGB pixels in the format of the path's extension, its folder made first, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)
    return path


def photos(folder: Path, count: int, *, hw=(64, 96)) -> list[Path]:
    """Write pictures 000.png, 001.png, ... for the tiny detector: number n has n % 4 faces, side by side on top."""
    faces = [{(0, column): 255 for column in range(number % 4)} for number in range(count)]
    return [saved(folder / f"{number:03}.png", red_squares(hw, found)) for number, found in enumerate(faces)]


def tiny_config(tmp_path: Path, *words: str) -> JobConfig:
    """Return a config: the tiny detector in tmp_path (made once), images from tmp_path/images, output tmp_path/out."""
    model = tmp_path / "tiny.onnx"
    if not model.exists():
        tiny_detector(model)
    (tmp_path / "job.yaml").write_text(
        f"model: {model}\n"
        f"manifest:\n  uri: {tmp_path / 'images'}\n"
        f"output:\n  uri: {tmp_path / 'out'}\n"
        "engine: local\n"
        "cpu_workers: 1\n"
    )
    return load(tmp_path / "job.yaml", words)


def model_of(config: JobConfig) -> Model:
    """Return the model of a config as the command line resolves it."""
    resolved = models.resolve(config.model)
    return Model(resolved.path, read_model_file(resolved.path), resolved.source)


def table_of(out: Path) -> pa.Table:
    """Return all parts of an output folder as one table, sorted by URI."""
    parts = [pq.read_table(part) for part in sorted((out / "detections").glob("part-*.parquet"))]
    return pa.concat_tables(parts).sort_by("uri")
