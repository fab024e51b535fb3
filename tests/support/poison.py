"""Images that really kill whoever works on them: by a segmentation fault, an endless loop, or all the memory there is.

A picture carries its poison in its last pixel. Where `install` was called, the true functions of a stage take it;
everything else is the true path. For a process of either engine to import.
"""

import ctypes

import numpy as np
from PIL import Image

STAGES = ("decode", "detect", "draw")
KINDS = ("segfault", "hang", "memory")
_MARK = 201
_BLOCK = 64 * 1024**2


def poison(path, stage, kind):
    """Poison a picture for one stage, and give it a name that says so; return its path."""
    with Image.open(path) as image:
        pixels = np.array(image)
    pixels[-1, -1] = (_MARK, 10 * (1 + STAGES.index(stage)), 10 * (1 + KINDS.index(kind)))
    poisoned = path.with_name(f"{path.stem}-{stage}-{kind}{path.suffix}")
    path.unlink()
    Image.fromarray(pixels).save(poisoned)
    return poisoned


def take(pixels, stage):
    """Take what poison a picture has for this stage."""
    mark, for_stage, kind = pixels[-1, -1].tolist()
    if mark == _MARK and for_stage == 10 * (1 + STAGES.index(stage)):
        HARM[KINDS[kind // 10 - 1]]()


def segfault():
    """Read address 0."""
    ctypes.string_at(0)


def hang():
    """Wait for ever in native code that never lets go of Python's lock."""
    while True:
        ctypes.PyDLL(None).pause()


def memory():
    """Take memory until none is given; where nothing limits that, 16 GiB would be too many for other people."""
    hoard = [np.ones(_BLOCK, np.uint8) for _ in range(16 * 1024**3 // _BLOCK)]
    raise RuntimeError(f"nothing limits the memory: {len(hoard)} blocks were given")


HARM = {"segfault": segfault, "hang": hang, "memory": memory}


def install():
    """Have the stages of this process take poison, once."""
    from mogface_batch.detector import FaceDetector
    from mogface_batch.images import decode
    from mogface_batch.stages import finish

    if hasattr(decode, "takes_poison"):
        return
    decode.takes_poison = True
    upright, detect, draw = decode._decode_upright, FaceDetector.detect_canvases, finish.draw_faces

    def poisoned_upright(*arguments):
        pixels = upright(*arguments)
        take(pixels, "decode")
        return pixels

    def poisoned_detect(detector, canvases, **options):
        for canvas in canvases:
            take(canvas, "detect")
        return detect(detector, canvases, **options)

    def poisoned_draw(pixels, *arguments):
        take(pixels, "draw")
        return draw(pixels, *arguments)

    decode._decode_upright, FaceDetector.detect_canvases, finish.draw_faces = (
        poisoned_upright,
        poisoned_detect,
        poisoned_draw,
    )


def no_core_files():
    """Have no death of this process, or of those that it starts, write its memory to disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
