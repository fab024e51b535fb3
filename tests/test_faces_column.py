import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mogface_batch.columns import decode_faces, encode_faces
from mogface_batch.geometry import Faces
from mogface_batch.schema import FACE

numbers = st.floats(width=32, allow_nan=False)


@st.composite
def some_faces(draw) -> Faces:
    count = draw(st.integers(0, 4))

    def array(*shape: int) -> np.ndarray:
        return draw(arrays.arrays(np.float32, (count, *shape), elements=numbers))

    return Faces(array(4), array(), array(5, 2) if draw(st.booleans()) else None)


rows = st.lists(st.none() | some_faces(), max_size=6)


def same(one: Faces | None, other: Faces | None) -> bool:
    if one is None or other is None:
        return one is other
    # Of no faces, nobody can say whether they had landmarks.
    points = [
        None if faces.landmarks is None or not len(faces) else faces.landmarks.tolist()
        for faces in (one, other)
    ]
    return (
        one.boxes_xyxy.tolist() == other.boxes_xyxy.tolist()
        and one.scores.tolist() == other.scores.tolist()
        and points[0] == points[1]
    )


def check(column: pa.Array | pa.ChunkedArray, expected: list[Faces | None]) -> None:
    back = list(decode_faces(column))
    assert len(back) == len(expected)
    assert all(map(same, back, expected))


@given(rows)
def test_faces_come_back_from_their_column(given_rows):
    column = encode_faces(given_rows)

    assert column.type == pa.list_(FACE)
    check(column, given_rows)


@given(rows, st.integers(0, 6), st.integers(0, 6))
def test_faces_come_back_from_a_slice_and_from_chunks(given_rows, start, length):
    column = encode_faces(given_rows)

    check(column[start : start + length], given_rows[start : start + length])
    check(pa.chunked_array([column[:start], column[start:]]), given_rows)
    check(column.take(pa.array(range(len(given_rows))[::-1], pa.int64())), given_rows[::-1])


@given(rows)
def test_faces_come_back_from_parquet(given_rows):
    file = io.BytesIO()
    pq.write_table(pa.table({"faces": encode_faces(given_rows)}), file)

    check(pq.read_table(file)["faces"], given_rows)


def one_face(score: float, *, landmarks: bool) -> Faces:
    points = np.full((1, 5, 2), score, np.float32) if landmarks else None
    return Faces(np.full((1, 4), score, np.float32), np.array([score], np.float32), points)


@pytest.mark.parametrize(
    ("given_rows", "values"),
    [
        pytest.param([], [], id="no-row"),
        pytest.param([None], [None], id="not-looked-at"),
        pytest.param([one_face(1, landmarks=True)[:0]], [[]], id="none-found"),
    ],
)
def test_null_is_not_looked_and_an_empty_list_is_none_found(given_rows, values):
    assert encode_faces(given_rows).to_pylist() == values


def test_rows_with_and_without_landmarks_stand_beside_each_other():
    given_rows = [
        one_face(1, landmarks=True),
        None,
        one_face(2, landmarks=False),
        one_face(3, landmarks=True),
    ]

    values = encode_faces(given_rows).to_pylist()

    assert [row and row[0]["landmarks"] for row in values] == [[1.0] * 10, None, None, [3.0] * 10]
    assert values[2] == [{"x1": 2.0, "y1": 2.0, "x2": 2.0, "y2": 2.0, "score": 2.0, "landmarks": None}]


def test_a_column_over_a_slice_of_faces_is_read_right():
    given_rows = [one_face(score, landmarks=True) for score in (1, 2, 3)]
    values = encode_faces(given_rows).values[1:]

    column = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), values, type=pa.list_(FACE))

    check(column, given_rows[1:])
