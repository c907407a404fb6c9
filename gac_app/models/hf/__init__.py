"""Models computed by transformers, on a GPU, a CPU, or spread over several GPUs. Knows no union vocabulary."""

from gac_app.models.hf.conversion import converted
from gac_app.models.hf.loading import adopted, described, load
from gac_app.models.hf.model import TransformersModel
from gac_app.models.hf.tokenized import TokenizedModel

__all__ = ["TokenizedModel", "TransformersModel", "adopted", "converted", "described", "load"]
