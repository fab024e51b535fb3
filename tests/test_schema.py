import pyarrow as pa
import pytest

from mogface_batch.schema import (
    ADDRESS,
    FACE,
    INTERNAL,
    PLAN_COLUMNS,
    RESULT_COLUMNS,
    Status,
    build_output_schema,
    name_carried_column,
)


def test_the_table_begins_with_our_columns_in_the_promised_order():
    assert " ".join(RESULT_COLUMNS.names) == (
        "image_id uri status error_code error_message attempts sha256 etag size_bytes format width height "
        "exif_orientation canvas_width canvas_height scale views faces face_count annotated_uri"
    )


def test_a_face_is_a_box_a_score_and_ten_numbers_or_null():
    assert [field.name for field in FACE] == ["x1", "y1", "x2", "y2", "score", "landmarks"]
    assert {FACE.field(at).type for at in range(5)} == {pa.float32()}
    assert FACE.field("landmarks").type == pa.list_(pa.float32(), 10)
    assert FACE.field("landmarks").nullable


def test_only_what_every_row_has_may_not_be_null():
    required = [field.name for field in RESULT_COLUMNS if not field.nullable]

    assert required == ["image_id", "uri", "status", "attempts"]


def test_the_statuses_are_the_promised_words():
    assert [status.value for status in Status] == [
        "ok", "fetch_failed", "undecodable", "too_large", "quarantined",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [*RESULT_COLUMNS.names, ADDRESS, f"{INTERNAL}anything"])
def test_a_manifest_column_named_like_one_of_ours_gets_a_prefix(name):
    assert name_carried_column(name) == f"manifest_{name}"


@pytest.mark.parametrize("name", ["", "label", "URI", "manifest_uri", "x1", "mogface"])
def test_any_other_column_keeps_its_name(name):
    assert name_carried_column(name) == name


def test_the_output_has_the_manifest_s_columns_behind_ours_and_all_may_be_null():
    schema = build_output_schema(pa.schema([pa.field("label", pa.int8(), nullable=False)]))

    assert schema.names == [*RESULT_COLUMNS.names, "label"]
    assert schema.field("label").type == pa.int8()
    assert schema.field("label").nullable
    assert build_output_schema(pa.schema([])) == RESULT_COLUMNS


def test_the_plan_s_own_columns_never_meet_the_manifest_s():
    assert all(name_carried_column(name) != name for name in PLAN_COLUMNS.names)
