"""Checks the bytes of an S3 object against its etag, where that is an MD5."""

import hashlib
import re
import ssl
import urllib.error
import urllib.request
from datetime import timedelta

import obstore
from obstore.store import S3Store

from mogface_batch.storage.clients.credentials import find_s3_options
from mogface_batch.storage.clients.object_requests import Bucket

_MD5 = re.compile(r"[0-9a-f]{32}")


def is_damaged(bucket: Bucket, key: str, encoded: bytes, etag: str, *, timeout_s: float) -> bool:
    """Return whether the bytes do not match the etag, if it is an MD5: the object was put in one piece."""
    if not isinstance(bucket, S3Store) or not _MD5.fullmatch(etag):
        return False
    if hashlib.md5(encoded, usedforsecurity=False).hexdigest() == etag:
        return False
    return not _is_encrypted(bucket, key, timeout_s)


def _is_encrypted(bucket: S3Store, key: str, timeout_s: float) -> bool:
    """Return whether an object is encrypted by a customer's key or by KMS, so that its etag is not an MD5."""
    url = obstore.sign(
        bucket, "HEAD", key, timedelta(minutes=1)
    )  # obstore does not show the headers of a response
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - our own URL
        with urllib.request.urlopen(request, timeout=timeout_s, context=_build_ssl_context()) as response:  # noqa: S310 - as above
            headers = response.headers
    except urllib.error.HTTPError as error:
        if error.code == 400:  # a HEAD request too must present a customer's key
            return True
        raise
    return str(headers.get("x-amz-server-side-encryption", "AES256")) != "AES256"


def _build_ssl_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    certificates = find_s3_options()["client_options"].get("root_certificate")
    if certificates:
        context.load_verify_locations(cadata=certificates.decode("ascii", "ignore"))
    return context
