"""`SideProcess`: opens something in another process and asks it many times, so that its memory and a crash are separate."""

import contextlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from mogface_batch.errors import DeviceError, JobFault

_END_TIMEOUT_S = 30
Answer = Callable[[Any], Any]


class SideProcess:
    """A process that opens something and answers questions; a context manager that ends it.

    Args:
        name: The name in error messages.
        opener: Called in the process with ``args``; returns the function that answers. Both must be importable by name.
        args: Picklable.
        start_method: Of multiprocessing.
        timeout_s: Limit for opening; None: no limit.

    Raises:
        JobFault: The opener raised it.
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
        self._pipe: Connection
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, opener, args), daemon=True)
        self._process.start()
        far_end.close()
        try:
            self._receive(timeout_s)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid or 0

    def ask(self, question: object, *, timeout_s: float | None = None) -> Any:  # noqa: ANN401 - the answer may be anything
        """Return the answer.

        Raises:
            JobFault: The answer raised it; another question may follow.
            DeviceError: The process died, or took too long and was ended.
        """
        with contextlib.suppress(ConnectionError):  # the process has died: reported below
            self._pipe.send(question)
        return self._receive(timeout_s)

    def close(self) -> None:
        """End the process."""
        self._pipe.close()  # the process ends when it reads that
        self._process.join(_END_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _receive(self, timeout_s: float | None) -> Any:  # noqa: ANN401
        try:
            if not self._pipe.poll(timeout_s):
                self._process.kill()
                raise DeviceError(f"{self._name} took more than {timeout_s:.0f} s and was ended.")
            answer = self._pipe.recv()
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
