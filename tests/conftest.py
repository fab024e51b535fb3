"""Fixtures that several rooms share: servers that are started once for all tests."""

from hypothesis import settings
from servers import _azurite, _fake_gcs, _proxy, az, faults, gs, radosgw, s3, web

__all__ = ["_azurite", "_fake_gcs", "_proxy", "az", "faults", "gs", "radosgw", "s3", "web"]

settings.register_profile("without a deadline", deadline=None)  # no timing decides a test
settings.load_profile("without a deadline")
