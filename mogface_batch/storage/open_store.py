"""Opens the store at an address, and checks that it can be relied on."""

import secrets

from mogface_batch.errors import ConfigError
from mogface_batch.storage.addresses import is_remote, redact
from mogface_batch.storage.local_store import LocalStore
from mogface_batch.storage.remote_store import RemoteStore
from mogface_batch.storage.store import TEMPORARY, Store


def open_store(address: str) -> Store:
    """Return the store at an address; its folder is created when a file is first published in it.

    Raises:
        ConfigError: The address contains credentials, which would appear in every file that is written.
    """
    if redact(address) != address:
        raise ConfigError(
            f"{redact(address)}: credentials do not belong in an output's address. Provide them as for the store's own "
            "tools (environment variables, a profile, an identity of the machine)."
        )
    return RemoteStore(address.rstrip("/")) if is_remote(address) else LocalStore(address)


def check_create_if_absent(store: Store) -> None:
    """Check that a remote store respects create-if-absent, with a probe file that is removed again.

    Raises:
        ConfigError: It overwrites an existing file.
        OutputError: It cannot be written at all.
    """
    if isinstance(store, LocalStore):
        return
    name = f"{TEMPORARY}/probe-{secrets.token_hex(8)}"
    try:
        if not store.create(name, b"first") or store.create(name, b"second"):
            raise ConfigError(
                f"{redact(store.address)} ignores create-if-absent: two runs at once could lose or double rows there. "
                "Choose another output.uri; or set output.single_writer=true and never start a second run."
            )
    finally:
        store.remove(name)
