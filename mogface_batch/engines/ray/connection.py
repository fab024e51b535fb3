"""Connect to a Ray cluster, or start Ray on this machine."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import ray

from mogface_batch.errors import ConfigError, DeviceError
from mogface_batch.faults.signals import defer_signals

CONNECT_S = 10.0
_THIS_MACHINE = "local"
"""Ray's word for a cluster that the driver starts on its own machine."""


@contextlib.contextmanager
def connect() -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS, or start Ray on this machine; disconnect or stop it on exit.

    Raises:
        ConfigError: RAY_ADDRESS is not an address that a job can use.
        DeviceError: The cluster cannot be reached or refuses the job.
    """
    if ray.is_initialized():  # the caller has connected, and disconnects
        yield
        return
    # Ray reports deaths on stdout, where a command writes its JSON.
    with _set_environment(), contextlib.redirect_stdout(sys.stderr):
        try:
            with _keep_sigterm_handler():
                _join(_read_address()) if is_at_cluster() else _start_ray()
            yield
        finally:
            with defer_signals():
                ray.shutdown()


def _read_address() -> str:
    return os.environ.get("RAY_ADDRESS") or _THIS_MACHINE


def is_at_cluster() -> bool:
    """Return whether the job joins a cluster, rather than starting Ray on this machine."""
    return _read_address() != _THIS_MACHINE


def _start_ray() -> None:
    # Without an address, `ray.init` would join any cluster that someone has started on this machine.
    with _silence_native_stderr():
        ray.init(
            address=_THIS_MACHINE, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
        )


def _join(address: str) -> None:
    if "://" in address:
        raise ConfigError(
            f"RAY_ADDRESS={address} is an address of Ray Client, through which a job cannot run: "
            "use ray job submit, or on a node of the cluster RAY_ADDRESS=host:port."
        )
    _check_reachable(address)
    try:
        with _silence_native_stderr():
            ray.init(address=address, logging_level=logging.WARNING)
    except ValueError as error:
        raise ConfigError(f"RAY_ADDRESS={address} is not an address: {error}") from None
    except (OSError, RuntimeError, ray.exceptions.RayError) as error:
        raise DeviceError(
            f"The Ray cluster at {address} refuses the job ({error}). If it asks for a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, as on its head."
        ) from None


def _check_reachable(address: str) -> None:
    """Fail early: Ray itself tries for two minutes and prints each attempt."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"There is no Ray cluster at RAY_ADDRESS={address} ({error}): "
            "start it, correct the address, or unset RAY_ADDRESS to run on this machine."
        ) from None


_TOKEN = secrets.token_hex(32)


@contextlib.contextmanager
def _set_environment() -> Iterator[None]:
    """Set the variables for this driver, and for a Ray that it starts; restore the environment on exit.

    Most servers of Ray listen on every interface, whatever address they are given, and run what they are sent: they
    must ask for a token. By default `ray.init` writes one to ~/.ray/auth_token, and from then on every `ray start`
    of this user demands it, long after this job. Our token is only in the environment of our own processes.
    """
    before = dict(os.environ)
    # Ray's native code logs an error about every actor pool; real failures are also raised.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if not is_at_cluster() and "RAY_AUTH_MODE" not in before:  # Ray then sets the mode to "token"
        os.environ["RAY_AUTH_TOKEN"] = _TOKEN
    try:
        yield
    finally:
        for name in ("RAY_BACKEND_LOG_LEVEL", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ.pop(name, None)
            os.environ.update({name: before[name]} if name in before else {})


@contextlib.contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Restore our handler of SIGTERM, which `ray.init` replaces; `ray job stop` sends SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _silence_native_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr; if the block fails, its exception says why."""
    try:
        terminal = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(devnull)
