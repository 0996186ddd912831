"""Settings of an endpoint."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from pediatricsgpt.settings import Settings


class TeacherSettings(Settings):
    """A language model behind an OpenAI-compatible endpoint: hosted, vLLM, or our own server."""

    base_url: str
    """The address up to and with /v1"""
    model: str
    """The model's name at that address"""
    key_env: str | None = None
    """Environment variable that holds the key; the key itself never stands in a recipe"""
    allow_external: bool = False
    """Text leaves this machine only if this is true, and then only de-identified rows"""
    temperature: float = Field(default=0.3, ge=0.0, le=2.0)
    """0 for the same answer each time, as far as the server can"""
    max_tokens: int = Field(default=1024, ge=1)
    """Upper bound of one answer, in tokens"""
    concurrency: int = Field(default=4, ge=1)
    """Requests on their way at one time"""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Rate limit; null for none"""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds until a request counts as failed"""
    retries: int = Field(default=5, ge=0)
    """How often a failed request (429, 5xx, time-out, cut connection) is tried again, with growing pauses"""
    retry_pause: float = Field(default=1.0, gt=0)
    """Seconds before the first of these; each further pause is twice as long, up to a minute"""
    repairs: int = Field(default=1, ge=0)
    """How often an answer of a wrong form (broken JSON, a field missing) is asked for again; each is paid for"""
    budget_tokens: int | None = Field(default=None, ge=1)
    """Stop cleanly before the rules with these settings together pay for more tokens in a step; a later run goes on"""
    budget_money: float | None = Field(default=None, gt=0)
    """The same in money, by the two prices below"""
    price_input: float = Field(default=0.0, ge=0)
    """Price of a million input tokens"""
    price_output: float = Field(default=0.0, ge=0)
    """Price of a million output tokens"""
    currency: str = "CNY"
    """Currency of the prices"""

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, base_url: str) -> str:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{base_url}' is no address; expected is for example http://127.0.0.1:8000/v1")
        if parts.username or parts.password:
            raise ValueError("a key does not stand in an address; name an environment variable in key_env")
        return base_url.rstrip("/")

    @property
    def external(self) -> bool:
        """Whether text sent there leaves this machine: true of every host that is not surely loopback."""
        host = urlsplit(self.base_url).hostname or ""
        if host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return True
