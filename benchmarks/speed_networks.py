"""The LSTM of a model file, built once more in the frameworks that others would score with.

Each build gives a step: the action's tokens, the hidden state and the cell in; the logarithms of the tokens'
probabilities, and the next hidden state and cell out. That is what our scorer does for each action, in numpy.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Step = Callable[[Any, Any, Any], tuple[Any, Any, Any]]

EMBEDDING = 32
"""Of :mod:`anomaly.detectors.lstm_trainer`; the file holds the embedding times the input weights."""


class Weights(NamedTuple):
    """The network of a model file, as a framework has it."""

    embedding: Floats
    """Shape (tokens, EMBEDDING); token 0 is padding, and nothing."""
    kernel: Floats
    """Shape (EMBEDDING, 4 units)."""
    recurrent: Floats
    bias: Floats
    output: Floats
    """Shape (units, tokens)."""
    output_bias: Floats
    columns: Floats
    """1 where a token belongs to a column's softmax, shape (tokens, columns)."""
    hidden: Floats
    """At the end of training, shape (1, units)."""
    cell: Floats

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]]) -> Weights:
        """Take a model's arrays; the kernel, a product of rank EMBEDDING, is factored by its singular values."""
        left, values, right = np.linalg.svd(arrays["kernel"].astype(np.float64), full_matrices=False)
        embedding = left[:, :EMBEDDING] * values[:EMBEDDING]
        embedding[0] = 0.0
        tokens = np.arange(len(embedding))
        column = np.searchsorted(arrays["starts"], tokens, side="right")
        return cls(
            embedding.astype(np.float32),
            right[:EMBEDDING].astype(np.float32),
            arrays["recurrent"],
            arrays["bias"],
            np.ascontiguousarray(arrays["output"].T),
            arrays["output_bias"],
            (column[:, None] == np.arange(column.max() + 1)).astype(np.float32),
            arrays["hidden"][None],
            arrays["cell"][None],
        )


def keras_network(weights: Weights, width: int, length: int | None = None) -> Any:  # noqa: ANN401 - keras has no types
    """Build the network in Keras.

    Parameters
    ----------
    weights
        The model's.
    width
        Tokens of an action at most.
    length
        Actions of a call; None for one, which is a cell without a loop around it.
    """
    keras = importlib.import_module("keras")
    ops, layers = keras.ops, keras.layers
    size, units = len(weights.embedding), len(weights.recurrent)
    shape = (width,) if length is None else (length, width)
    ids = keras.Input(shape, batch_size=1, dtype="int32", name="ids")
    hidden, cell = (keras.Input((units,), batch_size=1, name=name) for name in ("hidden", "cell"))
    embed, dense = layers.Embedding(size, EMBEDDING), layers.Dense(size)
    entered = ops.sum(embed(ids), axis=-2)
    if length is None:
        lstm = layers.LSTMCell(units)
        _, state = lstm(entered, [hidden, cell])
        before = hidden
    else:
        lstm = layers.LSTM(units, return_sequences=True, return_state=True)
        after, *state = lstm(entered, initial_state=[hidden, cell])
        before = ops.concatenate([hidden[:, None], after[:, :-1]], axis=1)
    logits = dense(before)
    logits = logits - ops.max(logits, axis=-1, keepdims=True)
    sums = ops.matmul(ops.exp(logits), weights.columns)
    logits = logits - ops.matmul(ops.log(sums), weights.columns.T)
    found = ops.take_along_axis(logits, ids, axis=-1)
    embed.set_weights([weights.embedding])
    dense.set_weights([weights.output, weights.output_bias])
    lstm.set_weights([weights.kernel, weights.recurrent, weights.bias])
    return keras.Model([ids, hidden, cell], [found, *state])


def predicted(network: Any) -> Step:  # noqa: ANN401 - keras ships no types
    """Return the step by ``model.predict``."""
    return lambda ids, hidden, cell: tuple(network.predict([ids, hidden, cell], verbose=0))


def called(network: Any) -> Step:  # noqa: ANN401 - keras ships no types
    """Return the step by ``model(x)``."""
    tensor = importlib.import_module("tensorflow").convert_to_tensor
    return lambda ids, hidden, cell: tuple(network([tensor(ids), tensor(hidden), tensor(cell)]))


def traced(network: Any) -> Step:  # noqa: ANN401 - tensorflow ships no types
    """Return the step by a ``tf.function`` that is traced once."""
    tf = importlib.import_module("tensorflow")
    signature = [tf.TensorSpec(given.shape, given.dtype) for given in network.inputs]
    concrete = tf.function(lambda *given: network(list(given)), input_signature=signature).get_concrete_function()

    def step(ids: Any, hidden: Any, cell: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401 - tensors
        found, hidden, cell = concrete(*map(tf.convert_to_tensor, (ids, hidden, cell)))
        return found.numpy(), hidden, cell

    return step


def litert(network: Any) -> Step:  # noqa: ANN401 - tensorflow ships no types
    """Return the step by LiteRT's interpreter, on one thread."""
    interpreter_of = importlib.import_module("ai_edge_litert.interpreter").Interpreter
    tf = importlib.import_module("tensorflow")
    with contextlib.redirect_stdout(sys.stderr):  # it talks
        content = tf.lite.TFLiteConverter.from_keras_model(network).convert()
    runner = interpreter_of(model_content=content, num_threads=1)
    runner.allocate_tensors()
    index = {
        str(detail["name"]).split("_")[-1].split(":")[0]: detail["index"] for detail in runner.get_input_details()
    }
    put = [index[name] for name in ("ids", "hidden", "cell")]
    take = [
        detail["index"] for detail in sorted(runner.get_output_details(), key=lambda found: str(found["name"]))
    ]

    def step(*given: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401 - arrays
        for place, value in zip(put, given, strict=True):
            runner.set_tensor(place, value)
        runner.invoke()
        found, hidden, cell = map(runner.get_tensor, take)
        return found, hidden, cell

    return step


def onnx_runtime(weights: Weights) -> Step:
    """Return the step by ONNX Runtime, on one thread; the graph is written out here."""
    onnx, runtime = importlib.import_module("onnx"), importlib.import_module("onnxruntime")
    node, units = onnx.helper.make_node, len(weights.recurrent)
    nodes = [
        node("Gather", ["embedding", "ids"], ["entered"]),
        node("ReduceSum", ["entered", "axis"], ["sum"], keepdims=0),
        node("MatMul", ["sum", "kernel"], ["by_input"]),
        node("Gemm", ["hidden", "recurrent", "bias"], ["by_state"]),
        node("Add", ["by_input", "by_state"], ["gates"]),
        node("Split", ["gates"], ["i", "f", "c", "o"], axis=1),
        *(node("Sigmoid", [gate], [f"{gate}_"]) for gate in "ifo"),
        node("Tanh", ["c"], ["c_"]),
        node("Mul", ["f_", "cell"], ["kept"]),
        node("Mul", ["i_", "c_"], ["let_in"]),
        node("Add", ["kept", "let_in"], ["next_cell"]),
        node("Tanh", ["next_cell"], ["squashed"]),
        node("Mul", ["o_", "squashed"], ["next_hidden"]),
        node("Gemm", ["hidden", "output", "output_bias"], ["logits"]),
        node("ReduceMax", ["logits"], ["highest"], axes=[1]),
        node("Sub", ["logits", "highest"], ["lowered"]),
        node("Exp", ["lowered"], ["powers"]),
        node("MatMul", ["powers", "columns"], ["sums"]),
        node("Log", ["sums"], ["logs"]),
        node("MatMul", ["logs", "columns_across"], ["normalisers"]),
        node("Sub", ["lowered", "normalisers"], ["logarithms"]),
        node("GatherElements", ["logarithms", "ids"], ["found"], axis=1),
    ]
    arrays = weights._asdict() | {"columns_across": weights.columns.T, "axis": np.array([1])}
    constants = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        for name, array in arrays.items()
        if name not in ("hidden", "cell")
    ]
    kind, value = onnx.TensorProto, onnx.helper.make_tensor_value_info
    given = [
        value("ids", kind.INT32, [1, None]),
        *(value(name, kind.FLOAT, [1, units]) for name in ("hidden", "cell")),
    ]
    got = ["found", "next_hidden", "next_cell"]
    made = onnx.helper.make_graph(nodes, "step", given, [value(name, kind.FLOAT, None) for name in got], constants)
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda ids, hidden, cell: tuple(session.run(got, {"ids": ids, "hidden": hidden, "cell": cell}))
