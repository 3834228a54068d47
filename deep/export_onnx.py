"""The program of deep.export_program as an ONNX graph, operator by operator, with a free batch dimension."""

from collections.abc import Callable

import numpy as np
from torch import nn

from deep.export_program import Program
from deep.nets import CLIP

OPSET = 17
IR = 8  # the format version that came with it


def graph(program: Program, meta: dict[str, str]) -> bytes:
    """The serialised model: input "obs" [N, O] float32, output "action" [N, U] float32 or [N] int64.

    Raises ValueError where the onnx package is not installed.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise ValueError("format onnx needs the onnx package: pip install 'occmatch[export]'") from None
    nodes, tensors = [], []

    def constant(name: str, value: np.ndarray) -> str:
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(operator: str, *inputs: str, to: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, list(inputs), [to], **attributes))
        return to

    numbers = {name: constant(name, value.numpy()) for name, value in program.named_buffers(recurse=False)}
    bounds = [constant(name, np.float32(value)) for name, value in (("least", -CLIP), ("most", CLIP))]
    centred = node("Sub", "obs", numbers["mean"], to="centred")
    x = node("Clip", node("Mul", centred, numbers["scale"], to="scaled"), *bounds, to="x")
    for i, layer in enumerate(program.net):
        if isinstance(layer, nn.Linear):
            weight = constant(f"net.{i}.weight", layer.weight.detach().numpy())
            bias = constant(f"net.{i}.bias", layer.bias.detach().numpy())
            x = node("Gemm", x, weight, bias, to=f"linear{i}", transB=1)
        else:
            x = node("Tanh", x, to=f"tanh{i}")
    if program.gaussian:
        x = node("Add", node("Mul", x, numbers["act_std"], to="units"), numbers["act_mean"], to="around")
        if program.clip:
            x = node("Min", node("Max", x, numbers["act_low"], to="above"), numbers["act_high"], to="within")
        kind, shape = TensorProto.FLOAT, ["N", program.net[-1].out_features]
    else:
        mode = node("ArgMax", x, to="mode", axis=1, keepdims=0)
        x = node("Add", mode, constant("start", np.int64(program.start)), to="numbered")
        kind, shape = TensorProto.INT64, ["N"]
    node("Identity", x, to="action")
    obs = helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["N", program.net[0].in_features])
    action = helper.make_tensor_value_info("action", kind, shape)
    model = helper.make_model(
        helper.make_graph(nodes, "policy", [obs], [action], tensors),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="occmatch",
    )
    helper.set_model_props(model, meta)
    checker.check_model(model, full_check=True)
    return model.SerializeToString()


def runner(model: bytes) -> Callable[[np.ndarray], np.ndarray] | None:
    """obs [N, O] float32 -> actions by onnxruntime; None where that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda obs: session.run(["action"], {"obs": obs})[0]
