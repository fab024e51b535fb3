"""From images to faces: each image is cut into views, which pass the session a few at a time.

The same computation as the stages of a job, in one process. Memory follows the largest image, the canvases of one
session call, and the faces.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mogface_batch import config
from mogface_batch.canvases.merging import merge_views
from mogface_batch.canvases.policies import open_canvas_policy
from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.canvases.views import View
from mogface_batch.config import CanvasOptions, LimitOptions, Merge, Policy
from mogface_batch.contract import ModelCard
from mogface_batch.detector.pictures import DetectedFaces
from mogface_batch.geometry import Faces, HeightWidth, Pixels, clip_to_image
from mogface_batch.images.cut_views import cut_views
from mogface_batch.images.decode import choose_reduction, decode_rgb
from mogface_batch.source_images import SourceImage, fetch_image

Source = Pixels | str | Path | SourceImage
RunCanvases = Callable[[Pixels], list[Faces]]
"""Returns the candidates of each canvas of (N, H, W, 3)."""


@dataclass(frozen=True, slots=True)
class DetectRules:
    """How the faces of an image are found: the settings of a job that define a detection."""

    card: ModelCard
    canvas_policy: CanvasPolicy
    limits: LimitOptions
    merge: Merge
    score_at_least: float
    min_face_px: float

    @classmethod
    def of(
        cls,
        card: ModelCard,
        canvas_hw: HeightWidth,
        *,
        canvas: CanvasOptions | Mapping[str, Any] | None,
        limits: LimitOptions | Mapping[str, Any] | None,
        detect: Mapping[str, Any],
    ) -> "DetectRules":
        """Return the rules that the arguments of `FaceDetector.detect` mean.

        Args:
            card: Of the detector.
            canvas_hw: The canvas where ``canvas`` names no size.
            canvas: The section ``canvas`` of a config.
            limits: The section ``limits``.
            detect: Keys of the section ``detect``.

        Raises:
            ConfigError: A section is wrong; every wrong key is named.
        """
        sections = {"canvas": canvas, "limits": limits, "detect": detect}
        # Validated like the config of a job, whose other required keys have no meaning here.
        document = {
            "manifest": {"uri": "-"},
            "output": {"uri": "-"},
            **{name: _build_section(section) for name, section in sections.items() if section is not None},
        }
        job = config.validate(document, where="What detect was given")
        options, job_limits = job.canvas, job.limits
        if options.sizes is None and options.policy is not Policy.NATIVE:
            options = options.model_copy(update={"sizes": (canvas_hw,)})
            if limits is None:  # a detector that was opened for a large canvas uses it
                canvas_px = max(job_limits.canvas_px, canvas_hw[0] * canvas_hw[1])
                job_limits = job_limits.model_copy(update={"canvas_px": canvas_px})
        threshold = job.detect.score_threshold
        return cls(
            card,
            open_canvas_policy(options, card, job_limits),
            job_limits,
            job.detect.merge,
            card.score_threshold if threshold is None else threshold,
            job.detect.min_face_px,
        )


@dataclass(slots=True)
class _Image:
    """An image whose views pass the session."""

    source: Source
    image_hw: HeightWidth
    views: tuple[View, ...]
    candidates: list[Faces] = field(default_factory=list)
    """Of the views so far."""
    faces: DetectedFaces | None = None
    """None until all views have passed."""

    def add(self, candidates: Faces, rules: DetectRules) -> None:
        """Add the candidates of the next view; after the last one, merge them."""
        self.candidates.append(candidates)
        if len(self.candidates) < len(self.views):
            return
        faces = merge_views(
            self.candidates,
            self.views,
            method=rules.merge,
            score_at_least=rules.score_at_least,
            iou_at_most=rules.card.nms_iou,
            max_faces=rules.card.max_faces,
        )
        clipped = clip_to_image(faces, self.image_hw, min_side_px=rules.min_face_px)
        self.faces = DetectedFaces.of(clipped, self.source, views=len(self.views))
        self.candidates.clear()


def detect_images(
    run_canvases: RunCanvases, sources: Iterable[Source], rules: DetectRules, *, batch_size: int
) -> list[DetectedFaces]:
    """Return the faces of each image, in pixels of the upright image.

    Args:
        run_canvases: Runs the session on at most ``batch_size`` canvases of one size.
        sources: Read one after the other.
        rules: How faces are found.
        batch_size: Canvases of a session call; those of several images pass together.

    Raises:
        RowFault: An image cannot be fetched or decoded, or is too large.
        ValueError: An array has another dtype or shape.
    """
    images: list[_Image] = []
    for batch in _group_canvases(_cut_images(sources, rules, images), batch_size):
        batch_candidates = run_canvases(np.stack([canvas for _, canvas in batch]))
        for (image, _), candidates in zip(batch, batch_candidates, strict=True):
            image.add(candidates, rules)
    return [image.faces for image in images if image.faces is not None]


def _cut_images(
    sources: Iterable[Source], rules: DetectRules, images: list[_Image]
) -> Iterator[tuple[_Image, Pixels]]:
    """Yield the canvases of all images in turn; each image is added to ``images``."""
    for source in sources:
        rgb, image_hw, views, reduced_by = _read_image(source, rules)
        image = _Image(source, image_hw, views)
        images.append(image)
        averaged = rules.canvas_policy.averages
        for canvas in cut_views(rgb, views, rules.card.pad_rgb, averaged=averaged, reduced_by=reduced_by):
            yield image, canvas


def _group_canvases(
    canvases: Iterable[tuple[_Image, Pixels]], batch_size: int
) -> Iterator[list[tuple[_Image, Pixels]]]:
    """Yield lists of at most ``batch_size`` canvases of one size, in their order."""
    batch: list[tuple[_Image, Pixels]] = []
    for image, canvas in canvases:
        if batch and (len(batch) == batch_size or canvas.shape != batch[0][1].shape):
            yield batch
            batch = []
        batch.append((image, canvas))
    if batch:
        yield batch


def _read_image(source: Source, rules: DetectRules) -> tuple[Pixels, HeightWidth, tuple[View, ...], int]:
    """Return the pixels, the size of the upright image, its views, and by which factor the pixels are reduced."""
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or source.size == 0:
            raise ValueError(f"an image is (H, W, 3) uint8 RGB, got {source.shape} {source.dtype}")
        image_hw = (source.shape[0], source.shape[1])
        return source, image_hw, rules.canvas_policy.list_views(image_hw), 1
    if isinstance(source, SourceImage):
        encoded, header = source.encoded, source.header
    else:
        encoded, header = fetch_image(str(source), rules.limits)
    views = rules.canvas_policy.list_views(header.upright_hw)
    scale = max(view.scale for view in views)
    reduced_by = choose_reduction(header, scale) if rules.canvas_policy.may_decode_scaled else 1
    if isinstance(source, SourceImage) and reduced_by == 1:
        return source.rgb, header.upright_hw, views, 1
    return decode_rgb(encoded, header, reduced_by=reduced_by), header.upright_hw, views, reduced_by


def _build_section(section: config.Options | Mapping[str, Any]) -> dict[str, Any]:
    return section.model_dump(mode="json") if isinstance(section, config.Options) else dict(section)
