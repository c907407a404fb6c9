"""Gate, combine, weight and sampling rules: what a step decides. Knows no member, only distributions.

Rules of the first three kinds are the extension points: `contracts` defines them, `shipped` has the built-in ones, and
a configuration's `plugins` add more. Importing this room loads no torch.
"""

from gac_app.decoding.rules import shipped as _shipped  # registers them
from gac_app.decoding.rules.contracts import (
    REGISTRIES,
    CombineRule,
    GateRule,
    LinearRule,
    WeightInputs,
    WeightRule,
    check_rules,
    combine_rules,
    draws_one,
    gate_rules,
    plugin_code,
    weight_rules,
    without_effect,
)
from gac_app.decoding.rules.registry import Registry, Rule, parse_params

__all__ = [
    "REGISTRIES",
    "CombineRule",
    "GateRule",
    "LinearRule",
    "Registry",
    "Rule",
    "WeightInputs",
    "WeightRule",
    "check_rules",
    "combine_rules",
    "draws_one",
    "gate_rules",
    "parse_params",
    "plugin_code",
    "weight_rules",
    "without_effect",
]

del _shipped
