"""Merge the faces that several views of one image have found."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mogface_batch.canvases.views import View
from mogface_batch.config import Merge
from mogface_batch.geometry import (
    Boxes,
    Faces,
    Rows,
    choose_faces,
    compute_areas,
    compute_overlaps,
    concatenate_faces,
    group_overlaps,
    suppress_overlaps,
)

VOTE_IOU = 0.3
INSIDE_SHARE = 0.5
"""A cut face of which this share is inside a whole one is a part of it."""
_BLOCK = 512


def merge_views(
    candidates: Sequence[Faces],
    views: Sequence[View],
    *,
    method: Merge,
    score_at_least: float,
    iou_at_most: float,
    max_faces: int,
) -> Faces:
    """Return the faces of an image in pixels of the upright image, best first.

    The result does not depend on the order of the views.

    Args:
        candidates: What the detector found on each view, in pixels of its canvas, scores falling.
        views: The views of the image.
        method: How faces that several views have found become one.
        score_at_least: A face that scores less is dropped.
        iou_at_most: A face that overlaps a better one by more is dropped; for `Merge.NMS` and a single view.
        max_faces: At most this many, the best.
    """
    if len(views) == 1:
        faces = choose_faces(
            candidates[0], score_at_least=score_at_least, iou_at_most=iou_at_most, max_faces=max_faces
        )
        return views[0].to_source(faces)
    pairs = list(zip(candidates, views, strict=True))
    answers = [_find_answers(faces, view, score_at_least=score_at_least) for faces, view in pairs]
    faces, is_cut = (
        concatenate_faces([answer for answer, _ in answers]),
        np.concatenate([cut for _, cut in answers]),
    )
    order = _sort(faces)
    faces, is_cut = faces[order], is_cut[order]
    faces = faces[~_find_parts(faces.boxes_xyxy, is_cut)]
    if method is Merge.VOTE:
        return vote(faces, iou_at_least=VOTE_IOU, max_faces=max_faces)
    return faces[suppress_overlaps(faces.boxes_xyxy, iou_at_most=iou_at_most, max_boxes=max_faces)]


def vote(faces: Faces, *, iou_at_least: float, max_faces: int) -> Faces:
    """Return one face for each group of overlapping faces: the mean of its boxes, weighted by their scores.

    Its score is the best of the group, its landmarks are those of the best face. A face alone stays as it is.

    Source: `bbox_vote` of WIDER FACE's usual multi-scale tests, with plain IoU of half-open boxes.

    Args:
        faces: Best first.
        iou_at_least: See `group_overlaps`.
        max_faces: At most this many, the best.
    """
    owners = group_overlaps(faces.boxes_xyxy, iou_at_least=iou_at_least)
    best = np.flatnonzero(owners == np.arange(len(owners)))[:max_faces]
    weights = faces.scores.astype(np.float64)
    sums = np.bincount(owners, weights, minlength=len(owners))
    sides = [
        np.bincount(owners, weights * faces.boxes_xyxy[:, side], minlength=len(owners)) for side in range(4)
    ]
    means = np.stack(sides, axis=1)[best] / np.maximum(sums[best, None], np.finfo(np.float64).tiny)
    is_single = np.bincount(owners, minlength=len(owners))[best] == 1
    boxes = np.where(is_single[:, None], faces.boxes_xyxy[best], means.astype(np.float32))
    landmarks = None if faces.landmarks is None else faces.landmarks[best]
    return Faces(boxes, faces.scores[best], landmarks)


def _find_answers(faces: Faces, view: View, *, score_at_least: float) -> tuple[Faces, NDArray[np.bool_]]:
    """Return the faces of a view that are its to find, in pixels of the image, and whether each may be cut."""
    faces = faces[faces.scores >= score_at_least]
    is_cut = view.find_cut(faces.boxes_xyxy)
    in_source = view.to_source(faces)
    sides_px = np.sqrt(compute_areas(in_source.boxes_xyxy))
    smallest_px, largest_px = view.sides_px
    rows = (sides_px >= smallest_px) & (sides_px < largest_px)
    return in_source[rows], is_cut[rows]


def _sort(faces: Faces) -> Rows:
    """Return the rows with the best first; of equal scores the order is that of the boxes, not that of the views."""
    order: Rows = np.lexsort((*faces.boxes_xyxy.T[::-1], -faces.scores))
    return order


def _find_parts(boxes_xyxy: Boxes, is_cut: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (N,) whether each cut face is mostly inside a whole one."""
    whole, cut_rows = boxes_xyxy[~is_cut], np.flatnonzero(is_cut)
    is_part = np.zeros(len(boxes_xyxy), bool)
    for start in range(0, len(cut_rows), _BLOCK):
        rows = cut_rows[start : start + _BLOCK]
        inside = (
            compute_overlaps(boxes_xyxy[rows], whole)
            > INSIDE_SHARE * compute_areas(boxes_xyxy[rows])[:, None]
        )
        is_part[rows] = inside.any(axis=1)
    return is_part
