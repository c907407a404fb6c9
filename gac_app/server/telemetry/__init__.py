"""What a host tells whoever operates it, beside its metrics: logs as JSON, and traces. Knows no text of a visitor."""

from gac_app.server.telemetry.json_log import log_as_json, log_ended
from gac_app.server.telemetry.traced import traced

__all__ = ["log_as_json", "log_ended", "traced"]
