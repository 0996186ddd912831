"""The one exception that a user ever sees."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Something the user can put right: bad input, a wrong setting, a missing extra, a full disk.

    The command line prints it as one line and exits with 2. The message says what is wrong and what to do;
    `where` says where (a path, `path:line`, or a field of the recipe).
    """

    exit_code = 2
    """Of the command; a failure that no change of the input puts right has another"""

    def __init__(self, message: str, where: str | Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = None if where is None else str(where)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def require_extra(extra: str, missing: ImportError) -> UserError:
    """The error for a command whose optional dependencies are not installed.

    Args:
        extra: the name in `pyproject.toml`, for example `train`.
        missing: what the import raised; its module's name goes into the message, or else what it says (a package that
            lacks one of its own parts names no module).
    """
    what = f"'{missing.name}', which is not installed" if missing.name else f"what cannot be imported ({missing})"
    return UserError(f"this needs {' '.join(what.split())}; install it with: pip install 'pediatricsgpt[{extra}]'")
