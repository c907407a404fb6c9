"""What an answer may consist of: constraints on the combined distribution, from which its tokens are then chosen."""

from gac_app.decoding.constraints.bias import TokenBias
from gac_app.decoding.constraints.schema import Grammars, SchemaConstraint

__all__ = ["Grammars", "SchemaConstraint", "TokenBias"]
