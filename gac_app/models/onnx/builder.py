"""Builds a graph for onnxruntime: operators, and constants in a file beside it. Knows no architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gac_app.models.gguf import Blocks

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
