"""Tests of hf:// against a server that answers as the hub does: huggingface_hub itself reads, in a process of its own."""

import hashlib
import json
import subprocess
import sys

import pytest
from servers import status

CONTENT = b"an image" * 100


def fetched(web, *, sha256):
    """Return what a process says that fetches an image, one that is not there, and one that is too large."""
    lfs = {"oid": sha256, "size": len(CONTENT), "pointerSize": 1}
    tree = [{"type": "file", "path": "d/a.jpg", "size": len(CONTENT), "oid": "a" * 40, "lfs": lfs}]
    for path in ("/api/agent-harnesses", "/api/datasets/o/r"):
        web.answer(path, status(200, json.dumps({"id": "o/r", "sha": "1" * 40}).encode()))
    web.answer(
        "/api/datasets/o/r/tree/main/d?recursive=false&expand=false", status(200, json.dumps(tree).encode())
    )
    web.answer("/datasets/o/r/resolve/main/d/a.jpg", status(503), status(200, CONTENT))
    code = (
        "from mogface_batch import errors, storage\n"
        "for name, most in (('a.jpg', 10**6), ('b.jpg', 10**6), ('a.jpg', 10)):\n"
        "    try:\n"
        "        found = storage.fetch(f'hf://datasets/o/r/d/{name}', max_bytes=most, timeout_s=20, attempts=3)\n"
        "        print(found.sha256, found.etag)\n"
        "    except errors.RowFault as fault: print(fault.code)\n"
    )
    environment = {
        "HF_ENDPOINT": web.url,
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    return done.stdout.splitlines()


def test_an_image_on_the_hub_is_read_and_checked(web):
    pytest.importorskip("huggingface_hub")
    sha256 = hashlib.sha256(CONTENT).hexdigest()

    assert fetched(web, sha256=sha256) == [f"{sha256} {'a' * 40}", "not_found", "too_many_bytes"]


def test_bytes_that_are_not_those_of_the_hub_s_digest_are_corrupt(web):
    pytest.importorskip("huggingface_hub")

    assert fetched(web, sha256="0" * 64)[0] == "corrupt"
