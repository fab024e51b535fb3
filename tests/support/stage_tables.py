"""Tables for the stages: rows of a plan, and the boxes of a row that came out."""

import pyarrow as pa

from mogface_batch.output.plan import Unit
from mogface_batch.schema import ADDRESS, PICTURE


def plan_rows(addresses, pictures=None, **own):
    addresses = [str(address) for address in addresses]
    names = pictures or [f"file/{number}.png" for number in range(len(addresses))]
    return pa.table(
        {
            "image_id": [f"id{number}" for number in range(len(addresses))],
            "uri": [address.rpartition("/")[2] for address in addresses],
            ADDRESS: addresses,
            PICTURE: names,
            **own,
        }
    )


def unit_of(part):
    return Unit("plan-000000.parquet", 0, 0, part)


def boxes(row):
    return [[face[side] for side in ("x1", "y1", "x2", "y2")] for face in row["faces"]]
