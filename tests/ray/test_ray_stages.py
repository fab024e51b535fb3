"""What passes between the stages of a Ray job, without a cluster."""

import pyarrow as pa

from mogface_batch.engines.ray.ray_stages import _PackedUnit, _pass_on_faults
from mogface_batch.errors import OutputError
from mogface_batch.output.plan import Unit


def test_a_unit_passes_as_one_row_and_comes_out_as_it_was():
    rows = pa.table(
        {"n": [1, 2, 3], "raw": pa.array([b"a", None, b"c"], pa.large_binary()), "s": [[1], [], None]}
    )
    rows = pa.concat_tables([rows, rows.slice(1)])

    units = [Unit("plan-000000.parquet", number, 3, f"part-{number}") for number in range(2)]
    block = _PackedUnit(units[0], rows).to_block()

    assert block.num_rows == 1
    # Ray joins, slices and concatenates blocks as it likes.
    joined = pa.concat_tables([block, _PackedUnit(units[1], rows.slice(0, 0)).to_block()])
    first, second = (_PackedUnit.of(joined.slice(row, 1)) for row in range(2))
    assert [first.unit, second.unit] == units
    assert first.rows.equals(rows)
    assert second.rows.equals(rows.slice(0, 0))


def test_a_fault_goes_by_the_stages_behind_it():
    fault = OutputError("The disk is full.")

    def failing(_):
        raise fault

    block = _pass_on_faults(failing, pa.table({"any": [1]}))

    assert _pass_on_faults(failing, block) is block
