"""Which table and which look a folder of pictures belongs to: DIR/render.json."""

import json
from typing import Any

from mogface_batch.errors import ConfigError, InputError
from mogface_batch.output.layout import FINGERPRINT_FILE, RENDER_FILE
from mogface_batch.planning.manifests import IMAGE_SUFFIXES
from mogface_batch.storage import Store


def claim_folder(store: Store, claim: dict[str, Any]) -> None:
    """Make a new folder belong to a table and a look.

    Args:
        store: The folder for the pictures.
        claim: The table and the look, as DIR/render.json has them.

    Raises:
        ConfigError: The folder belongs to another table or look, to a job, or holds other pictures.
        InputError: The claim in the folder is damaged.
    """
    if store.read(FINGERPRINT_FILE) is not None:
        raise ConfigError(
            f"{store.address} is the output folder of a job: choose another --out for the pictures."
        )
    if store.read(RENDER_FILE) is None:
        foreign = [name for name in store.list_names("") if name.lower().endswith(IMAGE_SUFFIXES)]
        if foreign:
            raise ConfigError(
                f"{store.address} holds pictures that `render` did not write, such as {foreign[0]}: choose an empty "
                "folder for --out."
            )
    if store.create(RENDER_FILE, json.dumps(claim, indent=2).encode() + b"\n"):
        return
    try:
        before = dict(json.loads(store.read(RENDER_FILE) or b""))
    except (ValueError, TypeError):
        raise InputError(
            f"{store.build_address(RENDER_FILE)} is damaged: remove that folder, or choose another."
        ) from None
    differences = [
        f"{name}: {before.get(name)} there, {claim.get(name)} now"
        for name in {**before, **claim}
        if before.get(name) != claim.get(name)
    ]
    if differences:
        listed = "\n  ".join(differences)
        raise ConfigError(
            f"{store.address} holds other pictures:\n  {listed}\nChoose another --out, or these options."
        )
