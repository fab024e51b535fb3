"""The forms that are compared, and the images that all of them get."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from mogface_batch import storage
from mogface_batch.canvases.batching import choose_rows_per_unit
from mogface_batch.config import JobConfig, ManifestOptions, Policy, validate
from mogface_batch.contract import ModelCard
from mogface_batch.errors import InputError, RowFault
from mogface_batch.geometry import HeightWidth, Letterbox, Pixels
from mogface_batch.images.canvas import place_on_canvas
from mogface_batch.jobs.resolved_job import resolve_canvases
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.source_images import read_image


@dataclass(frozen=True, slots=True)
class Setting:
    """What all forms have in common."""

    model: Path
    manifest: str
    within_hw: HeightWidth
    provider: str
    threads: int
    batch_size: int | None
    limit: int | None
    """Only the first so many images are measured; the canvases are chosen from all."""


@dataclass(frozen=True, slots=True)
class Form:
    """A job with at most so many canvases."""

    config: JobConfig
    card: ModelCard

    @property
    def canvases(self) -> tuple[HeightWidth, ...]:
        """The canvas sizes that were chosen."""
        return self.config.canvas.sizes or ()

    @property
    def name(self) -> str:
        """What the table calls it."""
        return ", ".join(f"{height}x{width}" for height, width in self.canvases)

    @property
    def rows_per_unit(self) -> int:
        """Rows of a unit of the job."""
        return choose_rows_per_unit(self.config, self.canvases)


def build_form(setting: Setting, card: ModelCard, *, canvases_at_most: int, folder: Path) -> Form:
    """Return the form, its canvases chosen from the images.

    Args:
        setting: Images, model, device.
        card: The card of the model.
        canvases_at_most: 1 to 6.
        folder: Where the form has its output.

    Raises:
        JobFault: The images cannot be used.
    """
    document = {
        "model": str(setting.model),
        "manifest": {"uri": setting.manifest},
        "output": {"uri": str(folder / f"out-{canvases_at_most}"), "annotated": False},
        "canvas": {
            "policy": Policy.BUCKETS.value,
            "sizes": [setting.within_hw],
            "buckets": canvases_at_most,
        },
        "detect": {"provider": setting.provider, "batch_size": setting.batch_size},
    }
    config = validate(document, where="benchmark buckets")
    return Form(resolve_canvases(config, card, storage.open_store(config.output.uri)), card)


def read_contents(setting: Setting, card: ModelCard) -> list[Pixels]:
    """Return the images as they are on a canvas, without the padding.

    Raises:
        InputError: An image cannot be read.
    """
    rows = open_manifest(ManifestOptions(uri=setting.manifest)).iterate_rows()
    addresses = (address for batch in rows for address in batch.addresses)
    return [
        _read_content(address, setting.within_hw, card)
        for address in itertools.islice(addresses, setting.limit)
    ]


def _read_content(address: str, within_hw: HeightWidth, card: ModelCard) -> Pixels:
    try:
        image = read_image(address)
    except RowFault as fault:
        raise InputError(f"{storage.redact(address)} cannot be used: {fault}") from None
    letterbox = Letterbox.fit(image.header.upright_hw, within_hw)
    unpadded = replace(letterbox, canvas_hw=letterbox.content_hw)
    return place_on_canvas(image.rgb, unpadded, card.pad_rgb)
