"""`FaceDetector`: canvases in, faces out."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar, overload

import numpy as np

from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.config import CanvasOptions, LimitOptions, Merge
from mogface_batch.contract import ModelCard, Provider
from mogface_batch.detector.detect_images import DetectRules, Source, detect_images
from mogface_batch.detector.model_file import ModelFile, check_provider, describe_session, hash_model_file
from mogface_batch.detector.pictures import DetectedFaces
from mogface_batch.detector.providers import parse_provider
from mogface_batch.detector.session import open_session
from mogface_batch.errors import DeviceError, ModelError
from mogface_batch.geometry import Faces, Pixels
from mogface_batch.source_images import SourceImage

AnySource = TypeVar("AnySource", bound=Source)


class FaceDetector:
    """A contract file on a device, ready to run.

    The faces of a canvas do not depend on the other canvases of the call: on the CPU they are equal to the bit.
    One detector may be used from several threads at once, which share its cores. It cannot be pickled: pass the path
    to another process and open it there.
    """

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        provider: Provider | str = Provider.CPU,
        threads: int | None = None,
        batch_size: int | None = None,
        canvas_hw: tuple[int, int] | None = None,
    ) -> Self:
        """Return a detector that is ready to run.

        Args:
            path: A file made by ``mogface-batch export``.
            provider: ``cpu``, ``cuda``, ``tensorrt``, ``openvino`` or ``coreml``; never replaced by another.
            threads: For one call; None takes all cores on the CPU, 1 elsewhere.
            batch_size: Run batches of exactly this many canvases, short ones padded. None runs batches of any size.
            canvas_hw: Every canvas has this height and width. None accepts any size.

        Raises:
            ModelError: The file is missing, is not an ONNX model, or was made for another batch size or canvas.
            ContractError: It breaks the contract; every violation is named.
            DeviceError: The device or its libraries are missing, or the file is for another device.
            ConfigError: There is no such provider.
        """
        path, provider = Path(path), parse_provider(provider)
        sha256 = hash_model_file(path)
        lengths = {
            "batch": batch_size,
            **dict(zip(("height", "width"), canvas_hw or (None, None), strict=True)),
        }
        if any(length is not None and length < 1 for length in lengths.values()):
            raise ValueError(f"batch_size and canvas_hw must be at least 1, got {batch_size} and {canvas_hw}")
        fixed = {name: length for name, length in lengths.items() if length is not None}
        check_provider(path, provider)
        session = open_session(path, provider, threads=threads, fixed_dims=fixed)
        model = describe_session(path, sha256, session)
        _check_lengths(path, model, lengths)
        return cls(session, model, provider, batch_size=batch_size, canvas_hw=canvas_hw)

    def __init__(
        self,
        session: Any,  # noqa: ANN401 - ONNX Runtime is untyped
        model: ModelFile,
        provider: Provider,
        *,
        batch_size: int | None,
        canvas_hw: tuple[int, int] | None,
    ) -> None:
        """Keep the arguments, which `open` has checked; call `open` instead."""
        self._session = session
        self._model = model
        self._provider = provider
        batch, height, width, _ = model.inputs[0].shape
        self._batch_size = batch if isinstance(batch, int) else batch_size
        fixed_hw = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self._canvas_hw = fixed_hw or canvas_hw
        self._output_names = [tensor.name for tensor in model.outputs]

    @property
    def card(self) -> ModelCard:
        """The model card of the file."""
        return self._model.card

    @property
    def model_sha256(self) -> str:
        """Digest of the whole file, 64 hex digits."""
        return self._model.sha256

    @property
    def provider(self) -> Provider:
        """The device that it runs on."""
        return self._provider

    @property
    def batch_size(self) -> int | None:
        """Canvases in every run; None if a run may have any number."""
        return self._batch_size

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width of the canvas that `detect` uses."""
        return self._canvas_hw or self.card.default_canvas_hw

    @property
    def fixed_canvas_hw(self) -> tuple[int, int] | None:
        """Height and width of the only canvas that it takes; None where it takes any."""
        return self._canvas_hw

    @property
    def has_landmarks(self) -> bool:
        """Whether it also finds eyes, nose and mouth corners."""
        return "landmarks" in self._output_names

    def detect_canvases(self, canvases: Pixels, *, score_at_least: float = 0.0) -> list[Faces]:
        """Return the candidates of each canvas, before threshold and NMS, in canvas pixels, best first.

        Args:
            canvases: (N, H, W, 3) uint8 RGB; not written to. N may be 0.
            score_at_least: Candidates with a lower score are left out, which saves memory.

        Raises:
            ValueError: The dtype, shape or size is not one that the detector accepts.
            DeviceError: The run failed on the device, for example because its memory is full.
        """
        self._check_canvases(canvases)
        return [
            faces
            for batch, count in self._split_batches(canvases)
            for faces in self._run_batch(batch, score_at_least)[:count]
        ]

    @overload
    def detect(
        self,
        source: Source,
        *,
        score_threshold: float | None = None,
        canvas: CanvasOptions | Mapping[str, Any] | None = None,
        merge: Merge | str = Merge.VOTE,
        min_face_px: float = 0.0,
        limits: LimitOptions | Mapping[str, Any] | None = None,
    ) -> DetectedFaces: ...
    @overload
    def detect(
        self,
        source: list[AnySource],
        *,
        score_threshold: float | None = None,
        canvas: CanvasOptions | Mapping[str, Any] | None = None,
        merge: Merge | str = Merge.VOTE,
        min_face_px: float = 0.0,
        limits: LimitOptions | Mapping[str, Any] | None = None,
    ) -> list[DetectedFaces]: ...

    def detect(
        self,
        source: Source | list[AnySource],
        *,
        score_threshold: float | None = None,
        canvas: CanvasOptions | Mapping[str, Any] | None = None,
        merge: Merge | str = Merge.VOTE,
        min_face_px: float = 0.0,
        limits: LimitOptions | Mapping[str, Any] | None = None,
    ) -> DetectedFaces | list[DetectedFaces]:
        """Return the faces of one image, or of each image in a list, in pixels of the upright image.

        They are those that a job with the same settings finds. By default each image is fitted into `canvas_hw` and
        never enlarged. Boxes are clipped to the image. In Jupyter the result draws itself.

        Args:
            source: A path, a URI, or (H, W, 3) uint8 RGB pixels; or a list of these.
            score_threshold: Faces with a lower score are left out; None: the model's own threshold.
            canvas: The section ``canvas`` of a config, such as ``{"policy": "tiles", "scales": [1, 2]}``.
            merge: How faces that several views of an image have found become one: ``vote`` or ``nms``.
            min_face_px: Faces whose shorter side is less, in pixels of the image, are left out.
            limits: The section ``limits`` of a config, such as ``{"views": 4000}``. Limits of worker processes
                (time, memory to decode) have no meaning here.

        Raises:
            ConfigError: An option is wrong, or a canvas does not suit the model.
            ValueError: An array has another dtype or shape.
            RowFault: A file cannot be fetched or decoded, or is too large.
            DeviceError: The run failed on the device.
        """
        rules = DetectRules.of(
            self.card,
            self.canvas_hw,
            canvas=canvas,
            limits=limits,
            detect={
                "score_threshold": None if score_threshold is None else float(score_threshold),
                "merge": merge,
                "min_face_px": float(min_face_px),
            },
        )
        find_faces = functools.partial(
            detect_images,
            functools.partial(self.detect_canvases, score_at_least=rules.score_at_least),
            rules=rules,
            batch_size=self._choose_batch_size(rules.canvas_policy),
        )
        if isinstance(source, (np.ndarray, str, Path, SourceImage)):
            return find_faces([source])[0]
        return find_faces(source)

    def _choose_batch_size(self, canvas_policy: CanvasPolicy) -> int:
        """Return how many canvases `detect` runs at a time: on a CPU one, since more take memory and save no time."""
        if self._batch_size is not None:
            return self._batch_size
        is_gpu = self._provider.is_gpu
        return canvas_policy.choose_batch_size(is_gpu=is_gpu) if is_gpu and canvas_policy.has_views else 1

    def _check_canvases(self, canvases: Pixels) -> None:
        if canvases.dtype != np.uint8 or canvases.ndim != 4 or canvases.shape[3] != 3:
            raise ValueError(f"canvases are (N, H, W, 3) uint8 RGB, got {canvases.shape} {canvases.dtype}")
        canvas_hw = canvases.shape[1:3]
        if self._canvas_hw is not None and canvas_hw != self._canvas_hw:
            raise ValueError(f"this detector takes canvases of (H, W) {self._canvas_hw}, got {canvas_hw}")
        if min(canvas_hw) < 1 or any(side % self.card.stride for side in canvas_hw):
            raise ValueError(f"height and width must be multiples of {self.card.stride}, got {canvas_hw}")

    def _split_batches(self, canvases: Pixels) -> Iterator[tuple[Pixels, int]]:
        """Yield batches of the session's size, each with the number of its canvases that are not padding."""
        size = self._batch_size or max(1, len(canvases))
        for start in range(0, len(canvases), size):
            batch = np.ascontiguousarray(canvases[start : start + size])
            count = len(batch)
            if self._batch_size is not None and count < size:
                blank = np.zeros((size - count, *batch.shape[1:]), dtype=np.uint8)
                batch = np.concatenate([batch, blank])
            yield batch, count

    def _run_batch(self, batch: Pixels, score_at_least: float) -> list[Faces]:
        try:
            outputs = self._session.run(self._output_names, {"images": batch})
        except Exception as error:
            count, height, width, _ = batch.shape
            raise DeviceError(
                f"Provider {self._provider} failed on {count} canvases of {height} x {width} pixels: {error}. "
                "If its memory was full, choose a smaller batch_size or canvas."
            ) from error
        threshold = np.float32(score_at_least)
        by_name = dict(zip(self._output_names, outputs, strict=True))
        boxes, scores, landmarks = by_name["boxes"], by_name["scores"], by_name.get("landmarks")
        candidates: list[Faces] = []
        for row in range(len(batch)):
            # Scores are in descending order, so those that pass are a prefix. It is copied, so that a few faces do not keep
            # the whole batch in memory.
            end = len(scores[row]) - np.searchsorted(scores[row][::-1], threshold)
            points = None if landmarks is None else landmarks[row, :end].copy()
            candidates.append(Faces(boxes[row, :end].copy(), scores[row, :end].copy(), points))
        return candidates


def _check_lengths(path: Path, model: ModelFile, requested: dict[str, int | None]) -> None:
    for declared, (name, length) in zip(model.inputs[0].shape, requested.items(), strict=False):
        if isinstance(declared, int) and length is not None and declared != length:
            raise ModelError(
                f"{path} was made for {name} {declared}, not {length}: remove that setting, or export the file again."
            )
