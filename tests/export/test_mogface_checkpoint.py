import hashlib
import http.server
import os
import pickle
import subprocess
import sys
import threading
import urllib.parse

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("modelscope")

from mogface_checkpoint import load_reference_class  # noqa: E402 - torch may be absent

from mogface_batch.errors import ModelError  # noqa: E402
from mogface_batch.export.detectors import export_detector  # noqa: E402
from mogface_batch.export.detectors.mogface.checkpoint import CHECKPOINT_NAME, read_checkpoint  # noqa: E402
from mogface_batch.export.detectors.mogface.hub import is_hub_id  # noqa: E402

HUB_ID = "damo/cv_resnet101_face-detection_cvpr22papermogface"
SOME = "backbone.layer3.22.conv2.weight"
COUNTER = "backbone.bn1.num_batches_tracked"
DEAD = "pred_net.deep_cls_head.conv2.weight"


@pytest.fixture
def tensors():
    """Return all 728 entries, shaped as they must be, but one value each: files of them are small."""
    with torch.device("meta"):
        shaped = load_reference_class()().state_dict()
    return {
        name: torch.full((), 0.5 if wanted.is_floating_point() else 0, dtype=wanted.dtype).expand(
            wanted.shape
        )
        for name, wanted in shaped.items()
    }


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves anything and returns the file."""

    def save(document, name=CHECKPOINT_NAME, **options):
        path = tmp_path / name
        torch.save(document, path, **options)
        return path

    return save


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_and_its_folder_give_the_same_checkpoint_and_no_path(tensors, saved):
    path = saved(tensors)

    of_file, of_folder = read_checkpoint(str(path)), read_checkpoint(str(path.parent))

    assert of_file.source == of_folder.source == CHECKPOINT_NAME
    assert of_file.sha256 == of_folder.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert torch.equal(of_file.tensors[SOME], tensors[SOME])


@pytest.mark.parametrize(
    "changed",
    [
        lambda tensors: {name: t for name, t in tensors.items() if "num_batches_tracked" not in name},
        lambda tensors: {name: t for name, t in tensors.items() if "dsfd" not in name and name != DEAD},
        lambda tensors: {f"net.{name}": t for name, t in tensors.items()},
        lambda tensors: {f"module.{name}": t for name, t in tensors.items()},
        lambda tensors: {"state_dict": tensors, "epoch": 7},
        lambda tensors: {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()},
    ],
    ids=["no-counters", "no-dead-weights", "detector", "data-parallel", "wrapped", "half"],
)
def test_what_can_do_no_harm_is_accepted(tensors, saved, changed):
    checkpoint = read_checkpoint(str(saved(changed(tensors))))

    assert checkpoint.tensors[SOME].dtype == torch.float32
    assert torch.equal(checkpoint.tensors[SOME], tensors[SOME])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda _: [1, 2], "does not map names to tensors"),
        (lambda _: {}, "does not map names to tensors"),
        (lambda _: {"state_dict": {}}, "does not map names to tensors"),
        (lambda t: {1: t[SOME]}, "does not map names to tensors"),
        (lambda t: {"epoch": 3} | t, "does not map names to tensors"),
        (lambda t: t[SOME], "does not map names to tensors"),
        (lambda t: {"conv1.weight": t[SOME]}, "1 unexpected (conv1.weight)"),
        (lambda t: {n: v for n, v in t.items() if n != SOME}, f"1 missing ({SOME})"),
        (lambda t: {n: v for n, v in t.items() if "gn" not in n}, "16 missing"),
        (lambda t: t | {"extra.weight": t[SOME]}, "1 unexpected (extra.weight)"),
        (lambda t: t | {f"e{n}": t[SOME] for n in range(9)}, "9 unexpected (e0, e1, e2 and 6 more)"),
        (lambda t: t | {SOME: torch.zeros(2, 3)}, f"1 unfit ({SOME} float32 [2, 3] instead of float32 [256"),
        (lambda t: t | {COUNTER: torch.zeros(())}, f"1 unfit ({COUNTER} float32 []"),
        (lambda t: t | {SOME: t[SOME].int()}, f"1 unfit ({SOME} int32"),
        (lambda t: t | {SOME: torch.zeros(256, 256, 3, 3).to_sparse()}, "1 unfit"),
        (lambda t: t | {SOME: t[SOME] / 0}, f"1 not finite ({SOME})"),
    ],
)
def test_another_checkpoint_is_refused_in_one_sentence_that_names_what_differs(tensors, saved, changed, said):
    path = saved(changed(tensors))

    with pytest.raises(ModelError) as refused:
        read_checkpoint(str(path))

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500 + len(str(path))


@pytest.mark.parametrize("zip_file", [True, False], ids=["zip", "legacy"])
def test_a_file_with_code_in_it_is_refused_and_nothing_is_run(tensors, saved, tmp_path, zip_file):
    trace = tmp_path / "trace"
    path = saved(tensors | {"code": Touch(trace)}, _use_new_zipfile_serialization=zip_file)

    with pytest.raises(
        ModelError, match=r"contains more than weights \(\w+\.mkdir\); none of its code was run"
    ):
        read_checkpoint(str(path))

    assert not trace.exists()


def test_a_bare_pickle_is_refused_and_nothing_is_run(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "w.pt"
    path.write_bytes(pickle.dumps(Touch(trace)))

    with pytest.raises(ModelError):
        read_checkpoint(str(path))

    assert not trace.exists()


def test_a_truncated_or_broken_file_is_refused(tensors, saved):
    path = saved(tensors)
    whole = path.read_bytes()
    for cut in (0, 1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelError, match="cut short or another kind of file"):
            read_checkpoint(str(path))


@pytest.mark.parametrize("name", ["absent.pt", "absent/absent.pt", "text.pt", "folder", "a" * 300])
def test_what_is_not_there_or_no_checkpoint_is_refused_without_asking_the_hub(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.pt").write_text("no checkpoint")

    with pytest.raises(ModelError):
        read_checkpoint(name)


def test_wrong_weights_leave_nothing_behind(tmp_path, saved):
    path = saved({})

    with pytest.raises(ModelError):
        export_detector("mogface", tmp_path / "new" / "mogface.onnx", str(path))

    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        (HUB_ID, True),
        ("a/b", True),
        ("name", False),
        ("a/b/c", False),
        ("./a", False),
        ("/a", False),
        ("a/", False),
        ("models/pytorch_model.pt", False),
        ("a/b c", False),
    ],
)
def test_a_hub_id_is_told_from_a_path(text, expected):
    assert is_hub_id(text) == expected


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of ModelScope's hub as its client asks for a file: one model has one file."""

    encoded = b""

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        asked = urllib.parse.parse_qs(url.query).get("FilePath")
        found = url.path == f"/api/v1/models/{HUB_ID}/repo" and asked == [CHECKPOINT_NAME]
        body = self.encoded if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


READ = """
import sys
from mogface_batch.errors import ModelError
from mogface_batch.export.detectors.mogface.checkpoint import read_checkpoint
for weights in sys.argv[1:]:
    try:
        checkpoint = read_checkpoint(weights)
        print(checkpoint.source, checkpoint.sha256)
    except ModelError as error:
        print(error)
"""


def read_through(hub, folder, *hub_ids):
    """Return what is printed by a process of its own: the client reads its settings when it is imported."""
    settings = {
        "MODELSCOPE_ENDPOINT": hub,
        "MODELSCOPE_CACHE": str(folder / "cache"),
        "MODELSCOPE_HOME": str(folder / "home"),
        "MODELSCOPE_API_MAX_RETRIES": "1",
        "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "1",
    }
    command = [sys.executable, "-c", READ, *hub_ids]
    process = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True)
    return process.stdout.splitlines()


def test_a_hub_id_is_downloaded_by_modelscopes_own_client(hub, tensors, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(Hub, "encoded", saved(tensors).read_bytes())

    got, absent = read_through(hub, tmp_path, HUB_ID, "damo/absent")

    assert got == f"modelscope:{HUB_ID} {hashlib.sha256(Hub.encoded).hexdigest()}"
    assert absent.startswith(f"{CHECKPOINT_NAME} of damo/absent cannot be downloaded from ModelScope's hub (")
    assert "404" in absent


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path):
    said = read_through("http://127.0.0.1:1", tmp_path, HUB_ID)

    assert len(said) == 1
    assert said[0].startswith(
        f"{CHECKPOINT_NAME} of {HUB_ID} cannot be downloaded from ModelScope's hub (NetworkError"
    )
    assert said[0].endswith("download the file elsewhere and give its path as --weights.")


@pytest.mark.parametrize("package", ["torch", "onnx", "onnxscript"])
def test_without_a_package_it_says_what_to_type(package):
    code = f"import sys; sys.modules[{package!r}] = None; import mogface_batch.export.detectors.mogface.compile_mogface"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert f"ModelError: Package {package} is needed to export MogFace" in process.stderr
    assert "pip install 'mogface-batch[export]'" in process.stderr


def test_without_modelscope_a_hub_id_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "modelscope", None)

    with pytest.raises(ModelError, match=r"Package modelscope .* pip install 'mogface-batch\[export\]'"):
        read_checkpoint(HUB_ID)
