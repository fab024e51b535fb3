"""The accuracy that the house promises, measured on the output of a real job over WIDER FACE images."""

import json
from pathlib import Path

import pytest
from builders import model_of, retinaface_weights, table_of, tiny_config

from mogface_batch.evaluation.ground_truth import load_ground_truth, read_image_list
from mogface_batch.evaluation.predictions import load_predictions
from mogface_batch.evaluation.widerface import evaluate
from mogface_batch.jobs import annotate as jobs

WIDER = Path(__file__).resolve().parents[2].parent / "shared/data/wider"
WORDS = (
    "model=builtin:retinaface",
    "detect.score_threshold=0.02",
    "output.annotated=false",
    "cpu_workers=2",
)

pytestmark = pytest.mark.shared


def annotated(tmp_path, *words):
    if not (WIDER / "images").exists():
        pytest.skip(f"no {WIDER / 'images'}")
    retinaface_weights()
    config = tiny_config(tmp_path, *WORDS, *words)
    return jobs.annotate(config, model_of(config))


def test_the_job_finds_the_faces_that_the_model_is_known_for(tmp_path):
    record = annotated(tmp_path, f"manifest.uri={WIDER / 'images'}", "canvas.policy=native")

    assert record["exit_code"] == 0
    assert record["table"]["by_status"] == {"ok": 404}
    found = evaluate(
        load_ground_truth(WIDER / "ground_truth"),
        load_predictions(tmp_path / "out"),
        images=read_image_list(WIDER / "subset.txt"),
    )
    assert found.easy == pytest.approx(0.8935, abs=0.001)
    assert found.medium == pytest.approx(0.8857, abs=0.001)
    assert found.hard == pytest.approx(0.7562, abs=0.001)


def test_ten_broken_files_among_404_are_ten_rows_and_the_exit_code_that_was_asked_for(tmp_path):
    broken = [tmp_path / f"broken-{number}.jpg" for number in range(10)]
    for path in broken:
        path.write_bytes(b"\xff\xd8\xff\xe0 broken")
    images = sorted((WIDER / "images").rglob("*.jpg"))
    (tmp_path / "list.txt").write_text(
        "".join(f"{path}\n" for path in [*images[:200], *broken, *images[200:]])
    )
    manifest = f"manifest.uri={tmp_path / 'list.txt'}"

    allowed = annotated(tmp_path, manifest, "canvas.sizes=[[320, 320]]")
    table = table_of(tmp_path / "out")
    refused = annotated(tmp_path, manifest, "canvas.sizes=[[320, 320]]", "max_error_rate=0.01")

    assert (allowed["exit_code"], refused["exit_code"]) == (0, 6)
    assert allowed["table"]["by_status"] == {"ok": 404, "undecodable": 10}
    assert table.num_rows == 414
    assert table_of(tmp_path / "out").equals(table)
    assert json.loads((tmp_path / "out/run.json").read_text())["exit_code"] == 6
    assert {row["uri"] for row in table.to_pylist() if row["status"] != "ok"} == set(map(str, broken))
