"""The layers of a GGUF file as a graph for onnxruntime. `layers` runs it.

On processors that llama.cpp's wheel was not built for, its kernels compute several rows one by one (Gemma 3 270M on a
Zen 4: eight steps take five times as long as one). onnxruntime's MatMulNBits takes the same numbers (weights as in the
file, activations in 8 bits with a scale per block) and reads the weights once for all rows.

Matrices are applied to the rows of all sequences at once; only attention knows sequences. A sequence's logits depend,
to the last bit, neither on what else is in the pass nor on how its ids are cut into passes:

- Attention to a single id has its own kernel, so every sequence has at least two ids in a pass (see `layers`).
- 4-bit matrices have their own kernel for a single row on processors without AVX-512; there they are written in 8 bits.

Shape suffixes: `N` ids of a pass, `W` ids whose logits are wanted, `S` slots, `T` places of a slot, `L` positions of
a cache, `E` the width of a hidden state, `V` the vocabulary.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from gac_app.models.gguf import Blocks, together
from gac_app.models.onnx.architecture import Architecture, architecture_of
from gac_app.models.onnx.layout import GRAPH_FILE, WEIGHTS_FILE

ORT_DOMAIN = "com.microsoft"  # of onnxruntime's own operators
SMALL_BYTES = 1024  # smaller constants stay in the graph's own file
_OPERATORS, _IR = 17, 10  # versions of ONNX
_PAGE_BYTES = 4096

Field = tuple[str, Any, list[Any]]  # an input or output: name, type, shape


class GraphBuilder:
    """Collects operators and constants. Large constants are written at once to a file beside the graph's, so that only
    one is in memory at a time.

    Args:
        path: where the graph will be saved.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._weights = path.with_suffix(".bin")
        self._weights.write_bytes(b"")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._sums: dict[tuple[str, int], str] = {}

    def constant(self, values: np.ndarray[Any, Any]) -> str:
        name = f"constant_{len(self._constants)}"
        values = np.ascontiguousarray(values)
        if values.nbytes < SMALL_BYTES:
            self._constants.append(numpy_helper.from_array(values, name))
        else:
            self._constants.append(self._written(values, name))
        return name

    def _written(self, values: np.ndarray[Any, Any], name: str) -> Any:
        """A constant with its values in the file beside the graph's, on their own page."""
        with self._weights.open("ab") as file:
            file.write(bytes(-file.tell() % _PAGE_BYTES))
            offset = file.tell()
            file.write(values.data)
        tensor = TensorProto(name=name, dims=values.shape, data_type=helper.np_dtype_to_tensor_dtype(values.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": self._weights.name, "offset": offset, "length": values.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def add_many(self, kind: str, inputs: list[str], num: int, *, domain: str = "", **attributes: Any) -> list[str]:
        names = [f"{kind}_{len(self._nodes)}_{output}" for output in range(num)]
        self._nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names

    def add(self, kind: str, inputs: list[str], *, domain: str = "", **attributes: Any) -> str:
        return self.add_many(kind, inputs, 1, domain=domain, **attributes)[0]

    def name(self, found: str, name: str) -> None:
        """Name a value, as an output of the graph."""
        self._nodes.append(helper.make_node("Identity", [found], [name]))

    def reshaped(self, found: str, shape: list[int]) -> str:
        return self.add("Reshape", [found, self.constant(np.array(shape))])

    def added_and_normed(self, rows: str, others: str, gamma: np.ndarray[Any, Any], epsilon: float) -> tuple[str, str]:
        """The normalised sum, and the sum."""
        inputs = [rows, others, self.constant(gamma)]
        normed, *_, total = self.add_many(
            "SkipSimplifiedLayerNormalization", inputs, 4, domain=ORT_DOMAIN, epsilon=epsilon
        )
        self._nodes[-1].output[1:3] = ["", ""]  # statistics that are not needed
        return normed, total

    def product(self, rows: str, matrix: Blocks) -> str:
        num_rows, num_blocks, block = matrix.weights.shape
        found = self.add(
            "MatMulNBits",
            [rows, self.constant(matrix.packed), self.constant(matrix.scales)],
            domain=ORT_DOMAIN,
            K=num_blocks * block,
            N=num_rows,
            bits=matrix.bits,
            block_size=block,
            accuracy_level=4,  # activations in 8 bits too, as in llama.cpp
        )
        if matrix.offsets is None:
            return found
        sums = self._sums_of_blocks(rows, num_blocks, block)
        return self.add("Add", [found, self.add("MatMul", [sums, self.constant(matrix.offsets.T)])])

    def _sums_of_blocks(self, rows: str, num_blocks: int, block: int) -> str:
        """The sums that offsets are multiplied with."""
        if (rows, block) not in self._sums:
            blocks = self.reshaped(rows, [0, num_blocks, block])
            axes = self.constant(np.array([2]))
            self._sums[rows, block] = self.add("ReduceSum", [blocks, axes], keepdims=0)
        return self._sums[rows, block]

    def save(self, inputs: list[Field], outputs: list[Field]) -> None:
        """Write the graph."""

        def described(name: str, kind: Any, shape: list[Any]) -> Any:
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)

        graph = helper.make_graph(
            self._nodes,
            "layers",
            [described(*each) for each in inputs],
            [described(*each) for each in outputs],
            self._constants,
        )
        versions = [helper.make_opsetid("", _OPERATORS), helper.make_opsetid(ORT_DOMAIN, 1)]
        model = helper.make_model(graph, opset_imports=versions, ir_version=_IR)
        onnx.save_model(model, str(self._path))


def write(gguf: Path, directory: Path) -> None:
    """Write the graph of a file, packed by onnxruntime for this processor, and its layout. Raises Unsuited.

    The weights are mapped when the graph is loaded, so they can be moved into large pages (see `large_pages`).
    """
    file = architecture_of(gguf)
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        takes_4_bits = _is_row_alike_alone(Path(folder))
        unpacked = Path(folder) / GRAPH_FILE
        _Layers(file, unpacked, takes_4_bits=takes_4_bits).save_graph()
        _pack(unpacked, directory / GRAPH_FILE)
    file.layout.save(directory)


def _is_row_alike_alone(folder: Path) -> bool:
    """Whether a row's product with a 4-bit matrix is the same, to the last bit, alone and beside other rows."""
    random = np.random.default_rng(0)
    weights, scales = random.integers(0, 16, (64, 8, 32), np.uint8), random.random((64, 8), np.float32)
    path = folder / "rows.onnx"
    graph = GraphBuilder(path)
    graph.name(graph.product("rows", Blocks(weights, scales, None, 4)), "products")
    graph.save([("rows", np.float32, ["N", 256])], [("products", np.float32, ["N", 64])])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows_NE = random.standard_normal((4, 256), np.float32)
    [together], *alone = (session.run(None, {"rows": rows}) for rows in (rows_NE, *rows_NE[:, None]))
    return np.array_equal(together, np.concatenate([row for [row] in alone]))


def _pack(unpacked: Path, path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    for entry, value in {
        "optimized_model_external_initializers_file_name": WEIGHTS_FILE,
        "optimized_model_external_initializers_min_size_in_bytes": str(SMALL_BYTES),
        "save_external_prepacked_constant_initializers": "1",
    }.items():
        options.add_session_config_entry(f"session.{entry}", value)
    onnxruntime.InferenceSession(str(unpacked), options, providers=["CPUExecutionProvider"])


class _Layers:
    """Adds the operators of a file's layers."""

    def __init__(self, file: Architecture, path: Path, *, takes_4_bits: bool) -> None:
        self._file = file
        self._takes_4_bits = takes_4_bits
        self._graph = GraphBuilder(path)

    def save_graph(self) -> None:
        """Write the graph, its weights beside it."""
        graph = self._graph
        caches = []
        state_NE = "embeddings"
        normed_NE = self._normed(state_NE, "blk.0.attn_norm.weight")
        for layer in range(self._file.num_layers):
            prefix = f"blk.{layer}."
            attended_NE, cache = self._attended(normed_NE, layer)
            caches.append(cache)
            if self._file.has("post_attention_norm.weight"):
                attended_NE = self._normed(attended_NE, f"{prefix}post_attention_norm.weight")
            normed_NE, state_NE = self._added_and_normed(state_NE, attended_NE, f"{prefix}ffn_norm.weight")
            fed_NE = self._fed_forward(normed_NE, prefix)
            if self._file.has("post_ffw_norm.weight"):
                fed_NE = self._normed(fed_NE, f"{prefix}post_ffw_norm.weight")
            is_last = layer + 1 == self._file.num_layers
            next_norm = "output_norm.weight" if is_last else f"blk.{layer + 1}.attn_norm.weight"
            normed_NE, state_NE = self._added_and_normed(state_NE, fed_NE, next_norm)
        wanted_WE = graph.add("Gather", [normed_NE, "wanted"], axis=0)
        graph.name(self._products(wanted_WE, [self._file.output_name])[0], "logits")
        graph.name(graph.add("ReduceSum", [wanted_WE, graph.constant(np.array([1]))], keepdims=0), "sums")
        graph.save(self._inputs(), self._outputs(caches))

    def _attended(self, normed_NE: str, layer: int) -> tuple[str, list[str]]:
        """Attention's output, and the names of the cache's next keys and values."""
        graph, prefix, width = self._graph, f"blk.{layer}.", self._file.head_width
        heads = {"q": self._file.num_queries, "k": self._file.num_heads, "v": self._file.num_heads}
        queries, keys, values = self._products(normed_NE, [f"{prefix}attn_{kind}.weight" for kind in heads])
        found = {"q": queries, "k": keys, "v": values}
        for kind in "qkv" if self._file.has("attn_q.bias") else "":
            bias = graph.constant(self._file.floats(f"{prefix}attn_{kind}.bias"))
            found[kind] = graph.add("Add", [found[kind], bias])
        for kind in "qk" if self._file.has("attn_q_norm.weight") else "":
            by_head = graph.reshaped(found[kind], [-1, heads[kind], width])
            normed = self._normed(by_head, f"{prefix}attn_{kind}_norm.weight")
            found[kind] = graph.reshaped(normed, [-1, heads[kind] * width])
        attended_STE, *cache = self._attention([found[kind] for kind in "qkv"], layer)
        rows = graph.reshaped(attended_STE, [-1, self._file.num_queries * width])
        [added_NE] = self._products(graph.add("Gather", [rows, "places"], axis=0), [f"{prefix}attn_output.weight"])
        return added_NE, cache

    def _attention(self, found: list[str], layer: int) -> list[str]:
        """Results by slot and place, and the cache's next keys and values."""
        by_place = [self._graph.add("Gather", [each, "rows"], axis=0) for each in found]
        is_global = layer not in self._file.sliding_layers
        near, table = ("", 0) if is_global else ("near_", 1)
        return self._graph.add_many(
            "GroupQueryAttention",
            [
                *by_place,
                *(f"{kind}_{layer}" for kind in ("keys", "values")),
                *(f"{near}lengths", f"{near}most", f"cos_{table}", f"sin_{table}", "positions"),
                *[""] * 6,
                "counts",
            ],
            3,
            domain=ORT_DOMAIN,
            num_heads=self._file.num_queries,
            kv_num_heads=self._file.num_heads,
            do_rotary=1,
            rotary_interleaved=int(self._file.family.interleaved),
            local_window_size=-1 if is_global else self._file.window,
        )

    def _fed_forward(self, normed_NE: str, prefix: str) -> str:
        gate, up = self._products(normed_NE, [f"{prefix}ffn_{kind}.weight" for kind in ("gate", "up")])
        activation, attributes = self._file.family.activation
        opened = self._graph.add(activation, [gate], domain=ORT_DOMAIN, **attributes)
        return self._products(self._graph.add("Mul", [opened, up]), [f"{prefix}ffn_down.weight"])[0]

    def _normed(self, rows: str, name: str) -> str:
        gamma = self._graph.constant(self._file.floats(name))
        return self._graph.add("SimplifiedLayerNormalization", [rows, gamma], axis=-1, epsilon=self._file.epsilon)

    def _added_and_normed(self, rows: str, others: str, name: str) -> tuple[str, str]:
        return self._graph.added_and_normed(rows, others, self._file.floats(name), self._file.epsilon)

    def _products(self, rows: str, names: list[str]) -> list[str]:
        """Products of the same rows with several matrices, in one operator if the matrices are of one kind."""
        graph, matrices = self._graph, [self._file.blocks(name) for name in names]
        if not self._takes_4_bits:
            matrices = [matrix.in_8_bits for matrix in matrices]
        if len({matrix.kind for matrix in matrices}) > 1:
            return [graph.product(rows, matrix) for matrix in matrices]
        product = graph.product(rows, together(matrices) if len(matrices) > 1 else matrices[0])
        if len(matrices) == 1:
            return [product]
        widths = graph.constant(np.array([len(matrix.weights) for matrix in matrices]))
        return graph.add_many("Split", [product, widths], len(matrices), axis=-1)

    def _inputs(self) -> list[Field]:
        """The inputs beside ids and caches. `rows`: the id at each place. `counts`: places taken per slot. `lengths`:
        ids cached after the pass, minus one; `most`: the longest of these. `places`: where each id is in the results.
        `wanted`: the ids whose logits are wanted.
        """
        inputs: list[Field] = [
            ("embeddings", np.float32, ["N", self._file.width]),
            ("places", np.int64, ["N"]),
            ("wanted", np.int64, ["W"]),
            ("rows", np.int64, ["S", "T"]),
            ("counts", np.int32, ["S"]),
            ("positions", np.int64, ["S", "T"]),
        ]
        for near in ("", "near_") if self._file.sliding_layers else ("",):
            inputs += [(f"{near}lengths", np.int32, ["S"]), (f"{near}most", np.int32, [])]
        for table in range(len(self._file.layout.rope_theta)):
            inputs += [(f"{kind}_{table}", np.float32, ["L", self._file.head_width // 2]) for kind in ("cos", "sin")]
        for layer in range(self._file.num_layers):
            inputs += [(f"{kind}_{layer}", np.float32, self._cache_shape) for kind in ("keys", "values")]
        return inputs

    def _outputs(self, caches: list[list[str]]) -> list[Field]:
        outputs: list[Field] = [("logits", np.float32, ["W", self._file.num_tokens]), ("sums", np.float32, ["W"])]
        return outputs + [(name, np.float32, self._cache_shape) for cache in caches for name in cache]

    @property
    def _cache_shape(self) -> list[Any]:
        return ["S", self._file.num_heads, "L", self._file.head_width]
