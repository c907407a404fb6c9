"""The layers of a GGUF file as a graph for onnxruntime, which `onnx_layers` runs.

llama.cpp's kernels for several rows are those for one, row by row, on processors that its wheel was not built for
(Gemma 3 270M on a Zen 4: eight steps take five times one). onnxruntime's MatMulNBits takes the same numbers, weights as
they are in the file and activations in 8 bits with a scale for each block, and reads the weights once for all rows.

Matrices are applied to all rows at once, whoever they belong to; only attention knows of sequences. No row's result
depends, to the last bit, on what others have in the pass: seen with AVX-512, and with AVX2 where matrices are in 8 bits
(those in 4 bits have a kernel of their own for a single row there).

Shape suffixes: `N` ids of a pass, `W` those whose logits are wanted, `S` slots, `T` places of a slot, `L` cached ids,
`H` heads for keys and values, `D` the width of a head, `E` that of a hidden state, `V` the vocabulary.
"""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader

from gac_app.models.gguf_blocks import blocks_of, together
from gac_app.models.gguf_reading import Unsuited, read_gguf
from gac_app.models.onnx_builder import ORT_DOMAIN, SMALL_BYTES, Field, GraphBuilder

GRAPH_FILE, _LAYOUT_FILE = "layers.onnx", "layout.json"
_LOCAL_BASE = 10_000.0  # of rotary embeddings in Gemma 3's layers that see a window
_HEAD_STEP = 16  # onnxruntime's attention turns heads of such widths
_KNOWN_FIELDS = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.dimension_count",
    "rope.freq_base",
}


@dataclass(frozen=True, slots=True)
class _Family:
    """What a file does not say of its architecture.

    Attributes:
        activation: an operator of onnxruntime's, with its attributes.
        turns_neighbours: rotary embeddings turn neighbours; else the first half of a head against the second.
        scales_embeddings: by the root of their width.
        sees_all: of so many layers the last sees all ids, the others a window.
    """

    activation: tuple[str, dict[str, float]] = ("QuickGelu", {"alpha": 1.0})  # x * sigmoid(x)
    turns_neighbours: bool = False
    scales_embeddings: bool = False
    sees_all: int = 1


_FAMILIES = {
    "llama": _Family(turns_neighbours=True),
    "qwen2": _Family(),
    "qwen3": _Family(),
    "gemma3": _Family(activation=("FastGelu", {}), scales_embeddings=True, sees_all=6),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What runs the graph needs to know.

    Attributes:
        num_layers, num_heads, head_width: of the caches; heads are those for keys and values.
        context_length: what the model was trained for.
        bases: of rotary embeddings, as many as the graph takes tables of.
        num_rows, row_bytes, offset, kind: where the file has its embeddings, and how they are quantised.
        scale: of embeddings.
        near_layers: those that see a window, so many ids with their own.
    """

    num_layers: int
    num_heads: int
    head_width: int
    context_length: int
    bases: tuple[float, ...]
    num_rows: int
    row_bytes: int
    offset: int
    kind: int
    scale: float
    near_layers: tuple[int, ...]
    window: int

    def save(self, directory: Path) -> None:
        (directory / _LAYOUT_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Layout:
        found = json.loads((directory / _LAYOUT_FILE).read_text(encoding="utf-8"))
        return cls(**{**found, "bases": tuple(found["bases"]), "near_layers": tuple(found["near_layers"])})


def check(gguf: Path) -> None:
    """Raises Unsuited where no graph can be made of a file, as far as its header tells."""
    try:
        _Layers(read_gguf(gguf))
    except Unsuited:
        raise
    except Exception as error:  # a header may say anything
        raise Unsuited(f"{type(error).__name__}: {error}") from error


def write(gguf: Path, directory: Path) -> None:
    """Write the graph of a file, as onnxruntime packs it for this processor, and its layout. Raises Unsuited.

    The weights are mapped when the graph is loaded, and what is mapped lies in large pages where the system has them
    for files: a step takes a sixth less than with weights that are packed anew at each start.
    """
    layers = _Layers(read_gguf(gguf))
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        unpacked = Path(folder) / GRAPH_FILE
        layers.save_graph(unpacked)
        _pack(unpacked, directory / GRAPH_FILE)
    layers.layout.save(directory)


def _pack(unpacked: Path, path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    for entry, value in {
        "optimized_model_external_initializers_file_name": f"{path.stem}.bin",
        "optimized_model_external_initializers_min_size_in_bytes": str(SMALL_BYTES),
        "save_external_prepacked_constant_initializers": "1",
    }.items():
        options.add_session_config_entry(f"session.{entry}", value)
    onnxruntime.InferenceSession(str(unpacked), options, providers=["CPUExecutionProvider"])


class _Layers:
    """A file's fields and tensors. Raises Unsuited where there is more in it than a graph would have."""

    def __init__(self, reader: GGUFReader) -> None:
        self._fields = reader.fields
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self._architecture = str(self._fields["general.architecture"].contents())
        if self._architecture not in _FAMILIES:
            raise Unsuited(f"its architecture is {self._architecture}")
        self._family = _FAMILIES[self._architecture]
        known = _KNOWN_FIELDS | ({"attention.sliding_window"} if self._family.sees_all > 1 else set())
        prefix = f"{self._architecture}."
        own = {name.removeprefix(prefix) for name in self._fields if name.startswith(prefix)}
        if unknown := own - known:
            raise Unsuited(f"it has a field {min(unknown)}")
        self._num_layers = int(self._of("block_count"))
        self._num_queries = int(self._of("attention.head_count"))
        self._num_heads = int(self._of("attention.head_count_kv", self._num_queries))
        self._width = int(self._of("embedding_length"))
        self._head_width = int(self._of("attention.key_length", self._width // self._num_queries))
        turned, of_values = self._of("rope.dimension_count"), self._of("attention.value_length")
        if {turned, of_values} - {None, self._head_width}:
            raise Unsuited("its heads are of several widths")
        if self._head_width % _HEAD_STEP:
            raise Unsuited(f"its heads are {self._head_width} wide, no multiple of {_HEAD_STEP}")
        self._window = int(self._of("attention.sliding_window", 0))
        self._check_tensors()

    def _of(self, name: str, default: Any = None) -> Any:
        """What a field of the architecture says."""
        found = self._fields.get(f"{self._architecture}.{name}")
        return default if found is None else found.contents()

    def _check_tensors(self) -> None:
        matrices = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}
        needed = {f"{name}.weight" for name in matrices | {"attn_norm", "ffn_norm"}}
        optional = {f"{name}.bias" for name in ("attn_q", "attn_k", "attn_v")}
        norms = ("attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm")
        optional |= {f"{name}.weight" for name in norms}
        names = {f"blk.{i}.{name}" for i in range(self._num_layers) for name in needed}
        names |= {"token_embd.weight", "output_norm.weight"}
        allowed = {f"blk.{i}.{name}" for i in range(self._num_layers) for name in optional} | {"output.weight"}
        if wrong := (names - self._tensors.keys()) | (self._tensors.keys() - names - allowed):
            raise Unsuited(f"it lacks, or has beside the known ones, {min(wrong)}")
        for name, tensor in self._tensors.items():
            if any(f".{matrix}.weight" in name for matrix in matrices) or name == self._output_name:
                blocks_of(np.asarray(tensor.data[:1]), tensor.tensor_type)
            elif name != "token_embd.weight" and tensor.tensor_type is not GGMLQuantizationType.F32:
                raise Unsuited(f"its {name} is in {tensor.tensor_type.name}")

    @property
    def _output_name(self) -> str:
        return "output.weight" if "output.weight" in self._tensors else "token_embd.weight"

    def _has(self, name: str) -> bool:
        return f"blk.0.{name}" in self._tensors

    def _sees_all(self, layer: int) -> bool:
        return (layer + 1) % self._family.sees_all == 0

    @property
    def _near_layers(self) -> tuple[int, ...]:
        return tuple(layer for layer in range(self._num_layers) if not self._sees_all(layer))

    @property
    def layout(self) -> Layout:
        embeddings = self._tensors["token_embd.weight"]
        base = float(self._of("rope.freq_base", 10_000.0))
        num_rows, row_bytes = embeddings.data.reshape(int(embeddings.shape[-1]), -1).view(np.uint8).shape
        return Layout(
            num_layers=self._num_layers,
            num_heads=self._num_heads,
            head_width=self._head_width,
            context_length=int(self._of("context_length")),
            bases=(base, _LOCAL_BASE) if self._near_layers else (base,),
            num_rows=num_rows,
            row_bytes=row_bytes,
            offset=int(embeddings.data_offset),
            kind=embeddings.tensor_type.value,
            scale=math.sqrt(self._width) if self._family.scales_embeddings else 1.0,
            near_layers=self._near_layers,
            window=self._window,
        )

    # --- the graph

    def save_graph(self, path: Path) -> None:
        """Write the graph, its weights beside it."""
        graph = GraphBuilder()
        epsilon = float(self._of("attention.layer_norm_rms_epsilon"))
        caches = []
        state_NE = "embeddings"
        normed_NE = graph.normed(state_NE, self._floats("blk.0.attn_norm.weight"), epsilon)
        for layer in range(self._num_layers):
            prefix = f"blk.{layer}."
            attended_NE, *cache = self._attended(graph, normed_NE, layer, epsilon)
            caches.append(cache)
            if self._has("post_attention_norm.weight"):
                attended_NE = graph.normed(attended_NE, self._floats(f"{prefix}post_attention_norm.weight"), epsilon)
            gamma = self._floats(f"{prefix}ffn_norm.weight")
            normed_NE, state_NE = graph.added_and_normed(state_NE, attended_NE, gamma, epsilon)
            fed_NE = self._fed_forward(graph, normed_NE, prefix)
            if self._has("post_ffw_norm.weight"):
                fed_NE = graph.normed(fed_NE, self._floats(f"{prefix}post_ffw_norm.weight"), epsilon)
            is_last = layer + 1 == self._num_layers
            gamma = self._floats("output_norm.weight" if is_last else f"blk.{layer + 1}.attn_norm.weight")
            normed_NE, state_NE = graph.added_and_normed(state_NE, fed_NE, gamma, epsilon)
        wanted_WE = graph.add("Gather", [normed_NE, "wanted"], axis=0)
        graph.name(self._products(graph, wanted_WE, [self._output_name])[0], "logits")
        graph.name(graph.add("ReduceSum", [wanted_WE, graph.constant(np.array([1]))], keepdims=0), "sums")
        graph.save(path, self._inputs(), self._outputs(caches))

    def _attended(self, graph: GraphBuilder, normed_NE: str, layer: int, epsilon: float) -> tuple[str, str, str]:
        """What attention adds, and the names of the cache's next keys and values."""
        prefix, width = f"blk.{layer}.", self._head_width
        heads = {"q": self._num_queries, "k": self._num_heads, "v": self._num_heads}
        queries, keys, values = self._products(graph, normed_NE, [f"{prefix}attn_{kind}.weight" for kind in heads])
        found = {"q": queries, "k": keys, "v": values}
        for kind in "qkv" if self._has("attn_q.bias") else "":
            bias = graph.constant(self._floats(f"{prefix}attn_{kind}.bias"))
            found[kind] = graph.add("Add", [found[kind], bias])
        for kind in "qk" if self._has("attn_q_norm.weight") else "":
            by_head = graph.reshaped(found[kind], [-1, heads[kind], width])
            gamma = self._floats(f"{prefix}attn_{kind}_norm.weight")
            found[kind] = graph.reshaped(graph.normed(by_head, gamma, epsilon), [-1, heads[kind] * width])
        by_place = [graph.add("Gather", [found[kind], "rows"], axis=0) for kind in "qkv"]
        sees_all = self._sees_all(layer)
        near, table = ("", 0) if sees_all else ("near_", 1)
        attended_STE, *cache = graph.add_many(
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
            num_heads=self._num_queries,
            kv_num_heads=self._num_heads,
            do_rotary=1,
            rotary_interleaved=int(self._family.turns_neighbours),
            local_window_size=-1 if sees_all else self._window,
        )
        in_rows = graph.reshaped(attended_STE, [-1, self._num_queries * width])
        attended_N = graph.add("Gather", [in_rows, "places"], axis=0)
        [added_NE] = self._products(graph, attended_N, [f"{prefix}attn_output.weight"])
        return added_NE, cache[0], cache[1]

    def _fed_forward(self, graph: GraphBuilder, normed_NE: str, prefix: str) -> str:
        gate, up = self._products(graph, normed_NE, [f"{prefix}ffn_{kind}.weight" for kind in ("gate", "up")])
        activation, attributes = self._family.activation
        opened = graph.add(activation, [gate], domain=ORT_DOMAIN, **attributes)
        return self._products(graph, graph.add("Mul", [opened, up]), [f"{prefix}ffn_down.weight"])[0]

    def _products(self, graph: GraphBuilder, rows: str, names: list[str]) -> list[str]:
        """Of the same rows with several matrices, in one operator where these are of one kind."""
        matrices = [blocks_of(np.asarray(self._tensors[name].data), self._tensors[name].tensor_type) for name in names]
        if len({matrix.kind for matrix in matrices}) > 1:
            return [graph.product(rows, matrix) for matrix in matrices]
        product = graph.product(rows, together(matrices) if len(matrices) > 1 else matrices[0])
        if len(matrices) == 1:
            return [product]
        widths = graph.constant(np.array([len(matrix.weights) for matrix in matrices]))
        return graph.add_many("Split", [product, widths], len(matrices), axis=-1)

    def _floats(self, name: str) -> np.ndarray[Any, Any]:
        return np.asarray(self._tensors[name].data, np.float32)

    def _inputs(self) -> list[Field]:
        """Of places, `rows` says which ids they take, `counts` how many of a slot's are taken, `lengths` how many ids
        are cached then, less one, and `most` what of the longest; `places` and `wanted` say where ids are found again.
        """
        inputs: list[Field] = [
            ("embeddings", np.float32, ["N", self._width]),
            ("rows", np.int64, ["S", "T"]),
            ("places", np.int64, ["N"]),
            ("wanted", np.int64, ["W"]),
            ("counts", np.int32, ["S"]),
            ("positions", np.int64, ["S", "T"]),
        ]
        for near in ("", "near_") if self._near_layers else ("",):
            inputs += [(f"{near}lengths", np.int32, ["S"]), (f"{near}most", np.int32, [])]
        for table in range(len(self.layout.bases)):
            inputs += [(f"{kind}_{table}", np.float32, ["C", self._head_width // 2]) for kind in ("cos", "sin")]
        for layer in range(self._num_layers):
            inputs += [(f"{kind}_{layer}", np.float32, self._cache_shape) for kind in ("keys", "values")]
        return inputs

    def _outputs(self, caches: list[list[str]]) -> list[Field]:
        num_tokens = int(self._tensors[self._output_name].shape[-1])
        outputs: list[Field] = [
            ("logits", np.float32, ["W", num_tokens]),
            ("sums", np.float32, ["W"]),
        ]
        return outputs + [(name, np.float32, self._cache_shape) for cache in caches for name in cache]

    @property
    def _cache_shape(self) -> list[Any]:
        return ["S", self._num_heads, "L", self._head_width]
