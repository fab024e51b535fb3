"""Group norms for CUDA: each becomes ONNX Runtime's own operator, which has a kernel there and nowhere else.

As exported, a group norm is six operators; on CUDA each is a pass over memory.
"""

from typing import Any

from onnx import helper

from mogface_batch.export.graph.contract_graph import FLOAT

DOMAIN = "com.microsoft"


def fuse_group_norms(model: Any) -> int:  # noqa: ANN401 - onnx is untyped
    """Fuse the group norms of a model in float32, which is changed; return how many there were."""
    # Imported here: it puts a folder of ONNX Runtime's onto sys.path.
    from onnxruntime.transformers.fusion_group_norm import FusionGroupNorm  # noqa: PLC0415
    from onnxruntime.transformers.onnx_model import OnnxModel  # noqa: PLC0415

    wrapped = OnnxModel(model)
    # Its kernel takes channels last only: other layouts are not implemented.
    FusionGroupNorm(wrapped, channels_last=True).apply()
    fused = [node for node in model.graph.node if node.op_type == "GroupNorm"]
    if fused:
        wrapped.topological_sort(is_deterministic=True)
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        # ONNX's inference does not know the operator: without this it would lose the types of all that follows.
        for node in fused:
            channels = helper.make_tensor_value_info(node.output[0], FLOAT, [None] * 4)
            model.graph.value_info.append(channels)
    return len(fused)


def count_group_norms(model: Any) -> int:  # noqa: ANN401
    """Return how many fused group norms a model holds."""
    return sum(node.op_type == "GroupNorm" and node.domain == DOMAIN for node in model.graph.node)
