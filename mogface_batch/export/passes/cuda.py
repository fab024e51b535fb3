"""Group norms for CUDA: each becomes ONNX Runtime's own operator, which only CUDA has a kernel for.

An exported group norm is six operators, each of which reads and writes the whole feature map.
"""

import onnx
from onnx import helper

from mogface_batch.export.graph.contract_graph import FLOAT

DOMAIN = "com.microsoft"


def fuse_group_norms(model: onnx.ModelProto) -> int:
    """Fuse the group norms of a model in float32, in place; return their number."""
    # Imported here, because the import adds a folder of ONNX Runtime to sys.path.
    from onnxruntime.transformers.fusion_group_norm import FusionGroupNorm  # noqa: PLC0415
    from onnxruntime.transformers.onnx_model import OnnxModel  # noqa: PLC0415

    onnx_model = OnnxModel(model)
    # The kernel is implemented for channels last only.
    FusionGroupNorm(onnx_model, channels_last=True).apply()
    fused = [node for node in model.graph.node if node.op_type == "GroupNorm"]
    if fused:
        onnx_model.topological_sort(is_deterministic=True)
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        # ONNX's inference does not know the operator: without this, the types of all later tensors would be unknown.
        for node in fused:
            channels = helper.make_tensor_value_info(node.output[0], FLOAT, [None] * 4)
            model.graph.value_info.append(channels)
    return len(fused)


def count_group_norms(model: onnx.ModelProto) -> int:
    """Return the number of fused group norms of a model."""
    return sum(node.op_type == "GroupNorm" and node.domain == DOMAIN for node in model.graph.node)
