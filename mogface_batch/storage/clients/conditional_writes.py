"""Conditional writes whose response may be lost."""

from collections.abc import Callable

from mogface_batch.storage.retries import retry_call


def create_once(
    write: Callable[[], object], *, is_there: Callable[[Exception], bool], is_ours: Callable[[], bool]
) -> bool:
    """Make a conditional write and return whether the file is ours, even if the first response was lost.

    Args:
        write: Makes one attempt.
        is_there: Returns whether an exception means that the store refused because the condition does not hold.
        is_ours: Returns whether the file has the content that we tried to write.
    """
    may_be_written = False

    def record_doubt() -> None:
        nonlocal may_be_written
        may_be_written = True

    try:
        retry_call(write, on_doubt=record_doubt)
    except Exception as error:
        if not is_there(error):
            raise
        return may_be_written and retry_call(is_ours)
    return True
