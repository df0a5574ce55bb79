"""The section ``api`` of the configuration: where it is served, to whom, and how much."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from foreshade.adapters.auth.oidc import OidcConfig
from foreshade.adapters.webhooks import WebhookConfig


class RateSection(BaseModel):
    """How often one caller may ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_s: Annotated[float, Field(gt=0)] = Field(
        default=100.0, description="Requests a second over time, for each token or user."
    )
    burst: Annotated[float, Field(ge=1)] = Field(default=400.0, description="Requests at once.")
    failures_per_s: Annotated[float, Field(gt=0)] = Field(
        default=0.2, description="Attempts without a good token a second, for each address."
    )
    failures_burst: Annotated[float, Field(ge=1)] = Field(default=20.0, description="Such attempts at once.")


class ApiSection(BaseModel):
    """API, dashboard and metrics, served beside the controller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=True, description="Whether anything is served.")
    address: str = Field(
        default="127.0.0.1", description="Address that is listened on; the loopback by default."
    )
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(default=8460, description="0 = any that is free.")
    hosts: tuple[str, ...] = Field(
        default=(), description="Names by which clients know this server, beside its address and localhost."
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM with the chain; with tls_key it is HTTPS."
    )
    tls_key: Path | None = Field(default=None, description="PEM; only its owner should be able to read it.")
    plain_http: bool = Field(
        default=False,
        description="Allow HTTP on other addresses than the loopback: behind a proxy that has TLS.",
    )
    open_metrics: bool = Field(default=False, description="Whether /metrics is served without a token.")
    most_body: Annotated[int, Field(ge=1024)] = Field(
        default=1 << 20, description="Largest body of a request, bytes."
    )
    most_policy: Annotated[int, Field(ge=1024)] = Field(
        default=32 << 20, description="Likewise of a policy's upload."
    )
    rate: RateSection = RateSection()
    oidc: OidcConfig | None = Field(
        default=None, description="A provider whose tokens are taken beside our own."
    )
    webhooks: tuple[WebhookConfig, ...] = Field(default=(), description="Receivers of events.")

    @model_validator(mode="after")
    def _safe(self) -> ApiSection:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("expected both of tls_certificate, tls_key, or none")
        if self.tls_key is None and not self.plain_http and not self.loopback:
            raise ValueError(
                f"address {self.address}: expected tls_certificate and tls_key, or plain_http: true behind a proxy"
            )
        if len({hook.name for hook in self.webhooks}) < len(self.webhooks):
            raise ValueError("expected webhooks of different names")
        return self

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.address == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False

    @property
    def names(self) -> frozenset[str]:
        """Host names that requests may be for."""
        own = {self.address.lower()} if self.address not in ("0.0.0.0", "::") else set()  # noqa: S104  compared
        return frozenset({"localhost", "127.0.0.1", "::1", *own, *(name.lower() for name in self.hosts)})
