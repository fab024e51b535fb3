"""The files of `benchmark gpu`, made when a form first needs them: seeded weights, and their graphs."""

from pathlib import Path

from mogface_batch.benchmark.gpu_forms import WEIGHTS, Form, Place, SessionForm
from mogface_batch.errors import OutputError
from mogface_batch.local_files import write_file

PLAIN = "any-fp32.onnx"
_EXPORTER = "exporter.txt"


def prepare(place: Place) -> str:
    """Write the weights and the plain graph, unless they exist; return the name of the exporter.

    Raises:
        ModelError: torch or onnx is not installed.
        OutputError: They cannot be written.
    """
    from mogface_batch.export.detectors.mogface.network.levels import Levels  # noqa: PLC0415
    from mogface_batch.export.detectors.mogface.plain_graphs import build_plain_graph  # noqa: PLC0415 - torch takes seconds to load
    from mogface_batch.export.detectors.mogface.pytorch.torch_detector import save_weights  # noqa: PLC0415
    from mogface_batch.export.detectors.mogface.seeded_network import make_seeded_network  # noqa: PLC0415

    marker = place.folder / _EXPORTER
    try:
        if not marker.exists():
            levels = Levels.parse(place.levels)
            network = make_seeded_network(levels)
            place.folder.mkdir(parents=True, exist_ok=True)
            save_weights(network, place.folder / WEIGHTS)
            plain, exporter = build_plain_graph(network, levels)
            write_file(place.folder / PLAIN, plain)
            write_file(marker, exporter.encode())  # last: it marks the folder as complete
        return marker.read_text(encoding="utf-8")
    except OSError as error:
        raise _describe_write_fault(place.folder, error) from None


def provide(form: Form, place: Place) -> None:
    """Write the graph of a form, unless it exists.

    Raises:
        ModelError: The graph cannot be converted to this form.
        OutputError: It cannot be written.
    """
    if not isinstance(form, SessionForm) or (place.folder / form.graph).exists():
        return
    from mogface_batch.export.detectors.mogface.plain_graphs import arrange_graph  # noqa: PLC0415 - needs onnx

    try:
        plain = (place.folder / PLAIN).read_bytes()
        write_file(place.folder / form.graph, arrange_graph(plain, half=form.half, target=form.target))
    except OSError as error:
        raise _describe_write_fault(place.folder, error) from None


def _describe_write_fault(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"The files to be measured cannot be kept in {folder}: {error.strerror}.")
