"""What all tests share: servers that are started once, which tests are quick, and which may run side by side.

A test has the mark `unit` unless it is in a room below that starts processes or needs torch, Ray or a browser, or
uses a server. `make unit` runs the marked ones in an environment that has none of these.

With `pytest -n 2 --dist loadgroup` a file stays in one process, because its fixtures are made once; so do the rooms of
`GROUPS`: those that start Ray clusters are not run beside each other, and the exports of torch are made once.
"""

from pathlib import Path

import pytest
from hypothesis import settings
from servers import _azurite, _fake_gcs, _proxy, az, faults, gs, radosgw, s3, web

__all__ = ["_azurite", "_fake_gcs", "_proxy", "az", "faults", "gs", "radosgw", "s3", "web"]

TESTS = Path(__file__).parent
SERVERS = {"_azurite", "_fake_gcs", "_proxy", "az", "faults", "gs", "radosgw", "s3", "web"}
HEAVY_ROOMS = {"benchmark", "benchmarks", "deaths", "docs", "engines", "export", "processes", "ray", "whole"}
GROUPS = {
    "deaths": "clusters",
    "docs": "clusters",
    "export": "torch",
    "ray": "clusters",
    "whole": "clusters",
}
HEAVY_FILES = {
    # whole jobs, and processes
    "api/test_public_names.py",
    "canvases/test_add_a_canvas_policy.py",
    "formats/test_add_an_output_format.py",
    "planning/test_add_a_manifest_format.py",
    "cli/test_annotate.py",
    "cli/test_benchmark.py",
    "cli/test_export.py",
    "cli/test_main.py",
    "cli/test_quantize.py",
    "images/test_memory.py",
    "jobs/test_annotate.py",
    "jobs/test_compact.py",
    "jobs/test_dry_run.py",
    "jobs/test_forget.py",
    "jobs/test_lifetimes.py",
    "jobs/test_render.py",
    "jobs/test_resolve_canvases.py",
    "jobs/test_status.py",
    "planning/test_sample.py",
    "report/test_report.py",
    # servers, by the name of a parameter
    "planning/test_manifests_elsewhere.py",
    "storage/test_list_versions.py",
    "storage/test_hugging_face.py",
    "storage/test_stores.py",
    # a browser
    "report/test_in_a_browser.py",
    # other tools in environments of their own
    "formats/test_read_back.py",
    # the weights of builtin:retinaface
    "test_models.py",
}
HEAVY_TESTS = {
    "test_planners_in_processes_plan_each_row_once",
    "test_show_finds_images_whose_names_are_relative_to_the_manifest",
    "test_the_official_numbers_of_the_whole_validation_set",
    "test_the_official_protocol_gives_the_golden_numbers_and_sizes_beside_them",
    "test_twenty_thousand_rows_are_planned_quickly",
    "test_lines_and_labels_grow_with_the_image",
    "test_ten_times_the_rows_need_no_more_memory",
    "test_twenty_times_the_rows_need_no_more_memory",
}

settings.register_profile("without a deadline", deadline=None)  # no timing decides a test
settings.load_profile("without a deadline")


def is_heavy(path: Path) -> bool:
    """Return whether the tests in a file start processes or need more than the small packages."""
    name = path.relative_to(TESTS)
    return name.parts[0] in HEAVY_ROOMS or name.as_posix() in HEAVY_FILES


def pytest_ignore_collect(collection_path, config):
    """Skip whole files before they import packages that `make unit` does not install."""
    return True if config.option.markexpr == "unit" and is_heavy(collection_path) else None


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(config, items):
    """Mark the quick tests, and say which tests stay in one process where several run."""
    for item in items:
        if is_unit(item):
            item.add_marker("unit")
        if config.pluginmanager.hasplugin("xdist"):
            name = item.path.relative_to(TESTS)
            item.add_marker(pytest.mark.xdist_group(GROUPS.get(name.parts[0], name.as_posix())))


def is_unit(item) -> bool:
    """Return whether a test is quick and needs only the small packages."""
    if is_heavy(item.path) or getattr(item, "originalname", item.name) in HEAVY_TESTS:
        return False
    return SERVERS.isdisjoint(getattr(item, "fixturenames", ()))
