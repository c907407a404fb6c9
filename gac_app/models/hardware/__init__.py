"""Devices, their memory, and the placement of members. Knows no model format."""

from gac_app.models.hardware.devices import available_cores, detect_devices, main_memory_bytes, parse_devices
from gac_app.models.hardware.placement import CPU, Placement, Plan, plan

__all__ = [
    "CPU",
    "Placement",
    "Plan",
    "available_cores",
    "detect_devices",
    "main_memory_bytes",
    "parse_devices",
    "plan",
]
