"""Distributed missing-wedge reconstruction and particle picking for cryo-electron microscopy."""

__version__ = "0.1.0"
