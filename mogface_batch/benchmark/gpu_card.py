"""The peak arithmetic of GPUs, by the name that the driver reports."""

PEAKS_TFLOP_PER_S: tuple[tuple[str, dict[str, float]], ...] = (
    ("H100 PCIe", {"fp16": 756, "TF32": 378, "fp32": 51}),
    ("H100 NVL", {"fp16": 835, "TF32": 418, "fp32": 60}),
    ("H100", {"fp16": 989, "TF32": 495, "fp32": 67}),
    ("H200", {"fp16": 989, "TF32": 495, "fp32": 67}),
    ("A100", {"fp16": 312, "TF32": 156, "fp32": 19.5}),
    ("L40S", {"fp16": 362, "TF32": 183, "fp32": 91.6}),
    ("L4", {"fp16": 121, "TF32": 60, "fp32": 30.3}),
    ("A10", {"fp16": 125, "TF32": 62.5, "fp32": 31.2}),
    ("T4", {"fp16": 65, "fp32": 8.1}),
)
"""A part of the name -> by precision, without sparsity; the first that fits counts. Source: NVIDIA's data sheets."""


def find_peak_tflop_per_s(card: str, precision: str) -> float | None:
    """Return the peak of a card, None where it is not known.

    Args:
        card: As nvidia-smi calls it, such as ``NVIDIA H100 80GB HBM3``.
        precision: ``fp16``, ``TF32`` or ``fp32``.
    """
    words = card.replace(",", " ").split()
    for name, peaks in PEAKS_TFLOP_PER_S:
        # Word by word: an A100 is no A10.
        if all(any(word.split("-")[0] == part for word in words) for part in name.split()):
            return peaks.get(precision)
    return None
