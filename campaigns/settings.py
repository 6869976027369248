"""DIALER_* settings of this side: where the ledger is, and whether calls are real.

Read once from the environment, or from a `.env` file in the working directory, and frozen.
"""

import os
import sys
from pathlib import Path
from typing import Any, TypeVar, get_args
from urllib.parse import quote

from dotenv import load_dotenv
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from campaigns.mistake import Mistake
from campaigns.plain_text import print_line
from campaigns.setting_names import misspelled, unknown
from campaigns.side import Exchange

T = TypeVar("T", bound=BaseSettings)

_SHOWN = 100
"""Characters of a wrong value that a message repeats."""


class LedgerSettings(BaseSettings):
    """Where the ledger is, and which side a command decides for."""

    model_config = SettingsConfigDict(env_prefix="DIALER_", frozen=True, env_ignore_empty=True)

    database_url: str | None = Field(
        default=None,
        description="the ledger's SQLAlchemy URL",
        examples=["postgresql://dialer:password@db.internal/dialer"],
    )
    data_dir: Path = Field(
        default=Path(".dialer"),
        description="the directory for everything that this machine keeps",
        examples=[".dialer"],
    )
    exchange: Exchange = Field(
        default="connect",
        description="what answers the calls: Amazon Connect, or the sandbox (set by --sandbox)",
    )

    @field_validator("data_dir")
    @classmethod
    def _is_text(cls, folder: Path) -> Path:
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            raise ValueError("it is not UTF-8") from None
        return folder

    @property
    def ledger_url(self) -> str:
        """The database's URL; by default an SQLite file in the data directory."""
        # Quoted, because SQLAlchemy takes % and ? in a path for those of a URL.
        return self.database_url or f"sqlite:///{quote(str(self.data_dir / 'ledger.sqlite'))}"


def load_settings(kind: type[T]) -> T:
    """Read the settings once. Raises Mistake naming the variable, what it means and a value that would do."""
    dotenv = Path(".env")
    if dotenv.is_file():
        # Into the environment and not only into our settings: AWS_* lines are for the SDK.
        try:
            load_dotenv(dotenv, override=False)
        except UnicodeDecodeError:
            raise Mistake(".env: is not UTF-8 text; save it as UTF-8") from None
        except OSError as error:
            raise Mistake(f".env: cannot be read: {error.strerror}") from None
        except ValueError:  # a NUL: no environment takes it
            raise Mistake(".env: has a NUL character; remove it") from None
    _check_names()
    try:
        return kind()
    except ValidationError as error:
        raise Mistake("; ".join(_in_words(kind, e) for e in error.errors())) from None


def _check_names() -> None:
    """Raise Mistake for misspelled names, and say once which ones are ignored.

    A setting that is ignored because of its spelling would leave its default in force: another ledger,
    another pace.
    """
    if wrong := misspelled(os.environ):
        raise Mistake("; ".join(wrong))
    if new := [name for name in unknown(os.environ) if name not in _said]:
        _said.update(new)
        print_line(f"dialer: no setting has this name, and it is ignored: {', '.join(new)}", sys.stderr)


_said: set[str] = set()
"""The variables that this process has said to ignore."""


def _in_words(kind: type[BaseSettings], error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = str(error["loc"][0])
    field = kind.model_fields[name]
    if name in _secrets(kind):
        # Neither is repeated what was given, nor is a value shown that would then be used as it stands.
        make = 'python3 -c "import secrets; print(secrets.token_hex(32))"'
        return f"DIALER_{name.upper()}: {field.description}: {message}; make one with: {make}"
    example = (field.examples or [field.default])[0]
    variable = f"DIALER_{name.upper()}"
    # A URL may hold a password, so what was given is repeated for everything but URLs.
    value = os.environ.get(variable, "")
    shown = f"{value[:_SHOWN]!r}" + ("…" if len(value) > _SHOWN else "")
    given = "" if name.endswith("_url") else f" (it is {shown})"
    wrong = f"{message[:1].lower()}{message[1:]}{given}"
    return f"{variable}: {field.description}: {wrong}; {variable}={example} would do"


def _secrets(kind: type[BaseSettings]) -> set[str]:
    """The names of the settings that no message may repeat."""
    return {
        name
        for name, field in kind.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    }
