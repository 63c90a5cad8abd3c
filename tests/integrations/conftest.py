"""LangChain's asynchronous tests are written for pytest-asyncio's automatic mode."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Choose it, where the plugin is installed; nothing else here is asynchronous."""
    if hasattr(config.option, "asyncio_mode"):
        config.option.asyncio_mode = "auto"
