"""A process of its own for something that is opened once and then asked many times: its memory and its crash are its own."""

import contextlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from mogface_batch.errors import DeviceError, JobFault

_END_TIMEOUT_S = 30
Answer = Callable[[Any], Any]


class SideProcess:
    """The process; a context manager that ends it.

    Args:
        name: What a fault calls it.
        opener: Called there with ``args``; what it returns answers each question. Both must be importable by name.
        args: Can be pickled.
        start_method: Of multiprocessing.
        timeout_s: At most so long may opening take; None: as long as it takes.

    Raises:
        JobFault: What the opener raised.
        DeviceError: The process died, or took too long.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[..., Answer],
        args: tuple[object, ...],
        *,
        start_method: str = "spawn",
        timeout_s: float | None = None,
    ) -> None:
        self._name = name
        context: Any = multiprocessing.get_context(start_method)
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, opener, args), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._received(timeout_s)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid or 0

    def ask(self, question: object, *, timeout_s: float | None = None) -> Any:  # noqa: ANN401 - whatever it answers
        """Return the answer.

        Raises:
            JobFault: What answering raised; another question may follow.
            DeviceError: The process died or took too long; it is gone.
        """
        with contextlib.suppress(ConnectionError):  # of a process that died: it is told below
            self._connection.send(question)
        return self._received(timeout_s)

    def close(self) -> None:
        """End the process."""
        self._connection.close()  # it ends when it reads that
        self._process.join(_END_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _received(self, timeout_s: float | None) -> Any:  # noqa: ANN401
        try:
            if not self._connection.poll(timeout_s):
                self._process.kill()
                raise DeviceError(f"{self._name} took more than {timeout_s:.0f} s and was ended.")
            answer = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join(_END_TIMEOUT_S)
            raise DeviceError(
                f"The process of {self._name} has died (exit code {self._process.exitcode}): "
                "its memory may not have sufficed. Choose a smaller canvas, or fewer files at once."
            ) from None
        if isinstance(answer, JobFault):
            raise answer
        return answer


def _serve(connection: Connection, opener: Callable[..., Answer], args: tuple[object, ...]) -> None:
    with contextlib.suppress(EOFError, ConnectionError, KeyboardInterrupt):
        try:
            answer = opener(*args)
        except JobFault as fault:
            connection.send(fault)
            return
        connection.send(None)
        while True:
            question = connection.recv()
            try:
                connection.send(answer(question))
            except JobFault as fault:
                connection.send(fault)
