"""Jobs that do what ours does, as a careful person would write them: files in, a Parquet table of their faces out.

`run_loop` is what the engines are measured by; `run_ray_data` and `run_daft` are the textbook jobs of two frameworks. All share the
same session, threads and batches, and read, place and choose by the same few lines. They look after nothing else: one
bad file ends them, and what was done is lost.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch.columns import encode_faces
from mogface_batch.detector import FaceDetector
from mogface_batch.errors import InputError
from mogface_batch.geometry import Faces, Letterbox, Pixels, choose_faces, clip_to_image

BATCHES_AHEAD = 3
"""How many batches the loop decodes while the session runs."""
ImageHW = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Work:
    """The input of every job."""

    files: tuple[str, ...]
    """Absolute paths."""
    model: str
    """A contract file."""
    provider: str
    canvas_hw: tuple[int, int]
    pad_rgb: tuple[int, int, int]
    batch_size: int
    threads: int
    """Of the session; as many threads decode."""
    out: str
    """An empty folder."""


# -- shared by all jobs ----------------------------------------------------------------------------------------


class Detector:
    """The session, with the choice among its candidates."""

    def __init__(self, work: Work) -> None:
        """Open it.

        Raises:
            JobFault: The file or the device cannot be used.
        """
        self._detector = FaceDetector.open(
            work.model,
            provider=work.provider,
            threads=work.threads,
            batch_size=work.batch_size,
            canvas_hw=work.canvas_hw,
        )
        self._card = self._detector.card

    def find_faces(self, canvases: Pixels, image_hws: Sequence[ImageHW]) -> list[Faces]:
        """Return the faces of (N, H, W, 3) canvases, in pixels of their images."""
        card, canvas_hw = self._card, canvases.shape[1:3]
        candidates_by_canvas = self._detector.detect_canvases(canvases, score_at_least=card.score_threshold)
        chosen = (
            choose_faces(
                candidates,
                score_at_least=card.score_threshold,
                iou_at_most=card.nms_iou,
                max_faces=card.max_faces,
            )
            for candidates in candidates_by_canvas
        )
        return [
            clip_to_image(Letterbox.fit(image_hw, canvas_hw).to_source(faces), image_hw)
            for faces, image_hw in zip(chosen, image_hws, strict=True)
        ]


def place_image(file: str, canvas: Pixels, pad_rgb: tuple[int, int, int]) -> ImageHW:
    """Read an image, fill the canvas with it and with padding, and return its height and width.

    Raises:
        InputError: OpenCV does not read it.
    """
    rgb: Pixels | None = cv2.imread(file, cv2.IMREAD_COLOR_RGB)
    if rgb is None:
        raise InputError(f"{file} cannot be measured: OpenCV does not read it. Leave it out of --images.")
    image_hw = rgb.shape[0], rgb.shape[1]
    letterbox = Letterbox.fit(image_hw, (canvas.shape[0], canvas.shape[1]))
    scaled = rgb
    if letterbox.scale < 1:
        scaled = cv2.resize(rgb, None, fx=letterbox.scale, fy=letterbox.scale, interpolation=cv2.INTER_AREA)
    height, width = letterbox.content_hw
    canvas[:height, :width] = scaled[:height, :width]
    line = np.tile(np.array(pad_rgb, np.uint8), (canvas.shape[1], 1))  # NumPy is slow at repeating a pixel
    canvas[:height, width:] = line[width:]
    canvas[height:] = line
    return image_hw


def build_rows(files: Sequence[str], faces: Sequence[Faces]) -> pa.Table:
    """Return the rows of these images."""
    return pa.table(
        {
            "file": pa.array(files, pa.string()),
            "faces": encode_faces(faces),
            "face_count": pa.array(list(map(len, faces)), pa.int32()),
        }
    )


# -- a loop ----------------------------------------------------------------------------------------------------


def run_loop(work: Work) -> None:
    """Run the job in one process: threads decode a few batches ahead of the session, and one Parquet file is written."""
    cv2.setNumThreads(1)
    detector = Detector(work)
    with ThreadPoolExecutor(work.threads) as pool:
        tables = [
            build_rows(files, detector.find_faces(canvases, image_hws))
            for files, canvases, image_hws in _place_batches(pool, work)
        ]
    pq.write_table(pa.concat_tables(tables), Path(work.out, "faces.parquet"))


def _place_batches(
    pool: ThreadPoolExecutor, work: Work
) -> Iterator[tuple[tuple[str, ...], Pixels, list[ImageHW]]]:
    pending: deque[tuple[tuple[str, ...], Pixels, list[Future[ImageHW]]]] = deque()
    for start in range(0, len(work.files), work.batch_size):
        files = work.files[start : start + work.batch_size]
        canvases = np.empty((len(files), *work.canvas_hw, 3), np.uint8)
        pending.append(
            (
                files,
                canvases,
                [
                    pool.submit(place_image, file, canvas, work.pad_rgb)
                    for file, canvas in zip(files, canvases, strict=True)
                ],
            )
        )
        if len(pending) > BATCHES_AHEAD:
            yield _await_batch(*pending.popleft())
    while pending:
        yield _await_batch(*pending.popleft())


def _await_batch(
    files: tuple[str, ...], canvases: Pixels, futures: list[Future[ImageHW]]
) -> tuple[tuple[str, ...], Pixels, list[ImageHW]]:
    return files, canvases, [future.result() for future in futures]


# -- Ray Data --------------------------------------------------------------------------------------------------


def run_ray_data(work: Work) -> None:
    """Run the job as in Ray Data's documentation of batch inference: tasks decode, an actor holds the session."""
    import ray  # noqa: PLC0415 - takes seconds, and is an extra
    import ray.data  # noqa: PLC0415

    from mogface_batch.engines.ray import connection  # noqa: PLC0415

    with connection.connect():
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        dataset = ray.data.from_items([{"file": file} for file in work.files])
        dataset = dataset.map_batches(
            _decode_batch, fn_args=(work,), batch_size=work.batch_size, batch_format="numpy"
        )
        dataset = dataset.map_batches(
            _RayDetector,
            fn_constructor_args=(work,),
            batch_size=work.batch_size,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=1),
            num_cpus=1,
            num_gpus=None if work.provider == "cpu" else 1,
        )
        dataset.write_parquet(work.out)


def _decode_batch(batch: dict[str, Any], work: Work) -> dict[str, Any]:
    cv2.setNumThreads(1)
    canvases = np.empty((len(batch["file"]), *work.canvas_hw, 3), np.uint8)
    image_hws = [
        place_image(str(file), canvas, work.pad_rgb)
        for file, canvas in zip(batch["file"], canvases, strict=True)
    ]
    return {"file": batch["file"], "canvas": canvases, "image_hw": np.array(image_hws)}


class _RayDetector:
    def __init__(self, work: Work) -> None:
        self._detector = Detector(work)

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        image_hws = [(int(height), int(width)) for height, width in batch["image_hw"]]
        return build_rows(
            list(map(str, batch["file"])), self._detector.find_faces(batch["canvas"], image_hws)
        )


# -- Daft ------------------------------------------------------------------------------------------------------


def run_daft(work: Work) -> None:
    """Run the job as in Daft's documentation of batch inference: a function decodes, a class holds the session."""
    import daft as framework  # noqa: PLC0415 - no dependency of ours

    kinds = framework.DataType
    cv2.setNumThreads(1)
    placed_type = kinds.struct({"canvas": kinds.binary(), "height": kinds.int32(), "width": kinds.int32()})
    boxes_type = kinds.list(kinds.list(kinds.float32()))

    def decode_files(files: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a series of Daft's
        structs = []
        for file in files.to_pylist():
            canvas = np.empty((*work.canvas_hw, 3), np.uint8)
            height, width = place_image(file, canvas, work.pad_rgb)
            structs.append({"canvas": canvas.tobytes(), "height": height, "width": width})
        return structs

    class DaftDetector:
        def __init__(self, work: Work) -> None:
            self._detector = Detector(work)

        @framework.method.batch(return_dtype=boxes_type, batch_size=work.batch_size)  # type: ignore[untyped-decorator]
        def find_faces(self, canvas: Any, height: Any, width: Any) -> list[list[list[float]]]:  # noqa: ANN401
            canvases = np.stack(
                [np.frombuffer(pixels, np.uint8).reshape(*work.canvas_hw, 3) for pixels in canvas.to_pylist()]
            )
            image_hws = list(zip(height.to_pylist(), width.to_pylist(), strict=True))
            return [faces.boxes_xyxy.tolist() for faces in self._detector.find_faces(canvases, image_hws)]

    decode = framework.func.batch(return_dtype=placed_type, unnest=True, batch_size=work.batch_size)(
        decode_files
    )
    detector = framework.cls(DaftDetector, max_concurrency=1)(work)
    table = framework.from_pydict({"file": list(work.files)})
    table = table.select("file", decode(table["file"]))
    table = table.with_column("boxes", detector.find_faces(table["canvas"], table["height"], table["width"]))
    table = table.select("file", table["boxes"].list_count().alias("face_count"), "boxes")
    table.write_parquet(work.out)
