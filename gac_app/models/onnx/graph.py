"""The layers of a GGUF file as a graph for onnxruntime. `model` runs it.

On processors that llama.cpp's wheel was not built for, its kernels compute several rows one by one (Gemma 3 270M on a
Zen 4: eight steps take five times as long as one). onnxruntime's MatMulNBits takes the same numbers (weights as in the
file, activations in 8 bits with a scale per block) and reads the weights once for all rows.

Matrices are applied to the rows of all sequences at once; only attention knows sequences. A sequence's logits depend,
to the last bit, neither on what else is in the pass nor on how its ids are cut into passes:

- Attention to a single id has its own kernel, so every sequence has at least two ids in a pass (see `model`).
- 4-bit matrices have their own kernel for a single row on processors without AVX-512; there they are written in 8 bits.

Shape suffixes: `N` ids of a pass, `W` ids whose logits are wanted, `S` slots, `T` places of a slot, `L` positions of
a cache, `E` the width of a hidden state, `V` the vocabulary.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from gac_app.models.gguf import Blocks, together
from gac_app.models.onnx.architecture import GRAPH_FILE, WEIGHTS_FILE, Architecture, architecture_of
from gac_app.models.onnx.builder import ORT_DOMAIN, SMALL_BYTES, Field, GraphBuilder


def write(gguf: Path, directory: Path) -> None:
    """Write the graph of a file, packed by onnxruntime for this processor, and its layout. Raises Unsuited."""
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


class _Layers(GraphBuilder):
    """The graph of a file's layers."""

    def __init__(self, file: Architecture, path: Path, *, takes_4_bits: bool) -> None:
        super().__init__(path)
        self._file = file
        self._layout = file.layout
        self._takes_4_bits = takes_4_bits

    def save_graph(self) -> None:
        """Write the graph, its weights beside it."""
        caches = []
        state_NE = "embeddings"
        normed_NE = self._normed(state_NE, "blk.0.attn_norm.weight")
        for layer in range(self._layout.num_layers):
            prefix = f"blk.{layer}."
            attended_NE, cache = self._attended(normed_NE, layer)
            caches.append(cache)
            if self._file.has("post_attention_norm.weight"):
                attended_NE = self._normed(attended_NE, f"{prefix}post_attention_norm.weight")
            normed_NE, state_NE = self._added_and_normed(state_NE, attended_NE, f"{prefix}ffn_norm.weight")
            fed_NE = self._fed_forward(normed_NE, prefix)
            if self._file.has("post_ffw_norm.weight"):
                fed_NE = self._normed(fed_NE, f"{prefix}post_ffw_norm.weight")
            is_last = layer + 1 == self._layout.num_layers
            next_norm = "output_norm.weight" if is_last else f"blk.{layer + 1}.attn_norm.weight"
            normed_NE, state_NE = self._added_and_normed(state_NE, fed_NE, next_norm)
        wanted_WE = self.add("Gather", [normed_NE, "wanted"], axis=0)
        self.name(self._products(wanted_WE, [self._file.output_name])[0], "logits")
        self.name(self.add("ReduceSum", [wanted_WE, self.constant(np.array([1]))], keepdims=0), "sums")
        self.save(self._inputs(), self._outputs(caches))

    def _attended(self, normed_NE: str, layer: int) -> tuple[str, list[str]]:
        """Attention's output, and the names of the cache's next keys and values."""
        prefix, width = f"blk.{layer}.", self._layout.head_width
        heads = {"q": self._file.num_queries, "k": self._layout.num_heads, "v": self._layout.num_heads}
        queries, keys, values = self._products(normed_NE, [f"{prefix}attn_{kind}.weight" for kind in heads])
        found = {"q": queries, "k": keys, "v": values}
        for kind in "qkv" if self._file.has("attn_q.bias") else "":
            bias = self.constant(self._file.floats(f"{prefix}attn_{kind}.bias"))
            found[kind] = self.add("Add", [found[kind], bias])
        for kind in "qk" if self._file.has("attn_q_norm.weight") else "":
            by_head = self.reshaped(found[kind], [-1, heads[kind], width])
            normed = self._normed(by_head, f"{prefix}attn_{kind}_norm.weight")
            found[kind] = self.reshaped(normed, [-1, heads[kind] * width])
        attended_STE, *cache = self._attention([found[kind] for kind in "qkv"], layer)
        rows = self.reshaped(attended_STE, [-1, self._file.num_queries * width])
        [added_NE] = self._products(self.add("Gather", [rows, "places"], axis=0), [f"{prefix}attn_output.weight"])
        return added_NE, cache

    def _attention(self, found: list[str], layer: int) -> list[str]:
        """Results by slot and place, and the cache's next keys and values."""
        by_place = [self.add("Gather", [each, "rows"], axis=0) for each in found]
        is_global = layer not in self._layout.sliding_layers
        near, table = ("", 0) if is_global else ("near_", 1)
        return self.add_many(
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
            kv_num_heads=self._layout.num_heads,
            do_rotary=1,
            rotary_interleaved=int(self._file.family.interleaved),
            local_window_size=-1 if is_global else self._layout.window,
        )

    def _fed_forward(self, normed_NE: str, prefix: str) -> str:
        gate, up = self._products(normed_NE, [f"{prefix}ffn_{kind}.weight" for kind in ("gate", "up")])
        activation, attributes = self._file.family.activation
        opened = self.add(activation, [gate], domain=ORT_DOMAIN, **attributes)
        return self._products(self.add("Mul", [opened, up]), [f"{prefix}ffn_down.weight"])[0]

    def _normed(self, rows: str, name: str) -> str:
        gamma = self.constant(self._file.floats(name))
        return self.add("SimplifiedLayerNormalization", [rows, gamma], axis=-1, epsilon=self._file.epsilon)

    def _added_and_normed(self, rows: str, others: str, name: str) -> tuple[str, str]:
        """The normalised sum, and the sum."""
        inputs = [rows, others, self.constant(self._file.floats(name))]
        normed, *_, total = self.add_many(
            "SkipSimplifiedLayerNormalization", inputs, 4, domain=ORT_DOMAIN, epsilon=self._file.epsilon
        )
        self._nodes[-1].output[1:3] = ["", ""]  # statistics that are not needed
        return normed, total

    def _products(self, rows: str, names: list[str]) -> list[str]:
        """Products of the same rows with several matrices, in one operator if the matrices are of one kind."""
        matrices = [self._file.blocks(name) for name in names]
        if not self._takes_4_bits:
            matrices = [matrix.in_8_bits for matrix in matrices]
        if len({matrix.kind for matrix in matrices}) > 1:
            return [self.product(rows, matrix) for matrix in matrices]
        product = self.product(rows, together(matrices) if len(matrices) > 1 else matrices[0])
        if len(matrices) == 1:
            return [product]
        widths = self.constant(np.array([len(matrix.weights) for matrix in matrices]))
        return self.add_many("Split", [product, widths], len(matrices), axis=-1)

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
        for near in ("", "near_") if self._layout.sliding_layers else ("",):
            inputs += [(f"{near}lengths", np.int32, ["S"]), (f"{near}most", np.int32, [])]
        for table in range(len(self._layout.rope_theta)):
            inputs += [(f"{kind}_{table}", np.float32, ["L", self._layout.head_width // 2]) for kind in ("cos", "sin")]
        for layer in range(self._layout.num_layers):
            inputs += [(f"{kind}_{layer}", np.float32, self._cache_shape) for kind in ("keys", "values")]
        return inputs

    def _outputs(self, caches: list[list[str]]) -> list[Field]:
        outputs: list[Field] = [("logits", np.float32, ["W", self._file.num_tokens]), ("sums", np.float32, ["W"])]
        return outputs + [(name, np.float32, self._cache_shape) for cache in caches for name in cache]

    @property
    def _cache_shape(self) -> list[Any]:
        return ["S", self._layout.num_heads, "L", self._layout.head_width]
