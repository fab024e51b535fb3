"""Finds credentials and endpoints by each store's own conventions, once, and passes them on explicitly.

They are never shown, logged or written.
"""

import functools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mogface_batch.errors import InputError
from mogface_batch.storage.clients.schemes import build_install_error

_CREDENTIALS_LIFETIME = timedelta(minutes=5)
"""How long obstore keeps credentials; botocore renews those that expire."""
_AWS_DOMAIN = ".amazonaws.com"


@functools.cache
def find_s3_options() -> dict[str, Any]:
    """Return the options of obstore's S3 client, as botocore finds them: from the environment, a profile, or a role.

    Raises:
        InputError: There are no credentials, or a profile does not exist.
    """
    try:
        import botocore.exceptions  # noqa: PLC0415 - comes with the extra s3
        import botocore.session  # noqa: PLC0415
    except ImportError:
        raise build_install_error("s3") from None
    try:
        session = botocore.session.get_session()
        credentials = session.get_credentials()
        # The only public access to botocore's rules for endpoints.
        client = session.create_client("s3").meta
        bundle = session.get_config_variable("ca_bundle")
    except botocore.exceptions.BotoCoreError as error:
        raise InputError(f"s3:// cannot be reached: {_join_lines(error)}.") from None
    options: dict[str, Any] = {"config": {"region": client.region_name or "us-east-1"}, "client_options": {}}
    if not client.endpoint_url.endswith(_AWS_DOMAIN):
        options["config"]["endpoint"] = client.endpoint_url
        options["client_options"]["allow_http"] = client.endpoint_url.startswith("http://")
    if bundle:
        options["client_options"]["root_certificate"] = _read_certificates(bundle)
    if _is_set("AWS_SKIP_SIGNATURE") or _is_set("AWS_NO_SIGN_REQUEST"):
        options["config"]["skip_signature"] = True
    elif credentials is None:
        raise InputError(
            "s3:// cannot be reached: there are no credentials in the environment, in a profile, or from a role. Set "
            "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or for a public bucket AWS_SKIP_SIGNATURE=true."
        )
    else:
        options["credential_provider"] = functools.partial(_freeze_credentials, credentials)
    return options


def _join_lines(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _freeze_credentials(credentials: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore is untyped
    now = credentials.get_frozen_credentials()
    return {
        "access_key_id": now.access_key,
        "secret_access_key": now.secret_key,
        "token": now.token,
        "expires_at": datetime.now(UTC) + _CREDENTIALS_LIFETIME,
    }


def find_azure_options() -> dict[str, Any]:
    """Return the options of obstore's Azure client: from a connection string; without one, obstore reads the environment."""
    options: dict[str, Any] = {"config": {}, "client_options": {}}
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if text:
        parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
        settings = {
            "account_name": parts.get("AccountName"),
            "account_key": parts.get("AccountKey"),
            "sas_key": parts.get("SharedAccessSignature"),
            "endpoint": parts.get("BlobEndpoint", "").rstrip("/") or None,
        }
        options["config"] = {name: value for name, value in settings.items() if value}
    endpoint = options["config"].get("endpoint") or os.environ.get("AZURE_STORAGE_ENDPOINT", "")
    options["client_options"]["allow_http"] = endpoint.startswith("http://")
    return options


def _read_certificates(bundle: str) -> bytes:
    try:
        return Path(bundle).read_bytes()
    except OSError as error:
        raise InputError(
            f"The certificates {bundle}, which AWS_CA_BUNDLE or a profile names, cannot be read: {error.strerror}."
        ) from None


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in {"1", "true", "yes"}
