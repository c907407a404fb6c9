"""Models computed by transformers, on a GPU, a CPU, or spread over several GPUs. Knows no union vocabulary.

`loading` is imported on use: it takes transformers' models along, which members on other engines do not need.
"""

from gac_app.models.hf.tokenized import TokenizedModel

__all__ = ["TokenizedModel"]
