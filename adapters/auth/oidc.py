"""Bearer tokens of an OpenID Connect provider: JWTs checked against its published keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from foreshade.adapters.auth.role import Principal, Role
from foreshade.adapters.auth.token import DeniedError
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require

#: Signatures alone: with a shared secret (HS256) whoever can check a token could also write one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
_LONGEST = 16_384  # bytes of a token that is looked at; providers stay below 8 KiB


class OidcConfig(BaseModel):
    """Whose tokens are taken, and which of their groups has which role."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str  # must equal the claim `iss`
    audience: str  # must be in the claim `aud`
    jwks_file: Path | None = None  # the provider's keys, as it publishes them
    jwks_url: Annotated[str, Field(pattern=r"^https://|^http://(127\.0\.0\.1|localhost)[:/]")] | None = None
    roles_claim: str = "groups"  # dots go down: realm_access.roles
    roles: Mapping[str, Literal["viewer", "operator", "admin"]]  # value of the claim -> role
    name_claim: str = "sub"
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0  # clocks that differ
    refresh_s: Annotated[float, Field(ge=10)] = 3600.0  # how long keys of the URL are kept
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0

    @model_validator(mode="after")
    def _one_source(self) -> OidcConfig:
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError("expected one of jwks_file, jwks_url")
        return self


class Oidc:
    """Checks the signature, issuer, audience and times of a JWT, and reads a role out of it."""

    def __init__(self, config: OidcConfig) -> None:
        """Read the keys of a file now; those of a URL when the first token comes.

        Raises:
            InputError: the file is no set of keys.
            MissingExtraError: PyJWT is not installed.

        """
        self._config = config
        self._jwt = require("jwt", "api", "OIDC tokens")
        require("cryptography", "api", "OIDC tokens")
        self._keys: Any = None
        self._client: Any = None
        if config.jwks_file is not None:
            try:
                document = json.loads(config.jwks_file.read_text(encoding="utf-8"))
                self._keys = {key.key_id: key for key in self._jwt.PyJWKSet.from_dict(document).keys}
            except (OSError, ValueError, AttributeError, self._jwt.PyJWTError) as error:
                raise InputError(f"{config.jwks_file}: expected a JSON Web Key Set, found {error}") from error
        else:
            self._client = self._jwt.PyJWKClient(
                config.jwks_url, lifespan=config.refresh_s, timeout=config.timeout_s
            )

    def verify(self, text: str) -> Principal:
        """Who holds a token.

        May take ``timeout_s`` where the provider's keys are fetched: call it outside the event loop.

        Raises:
            DeniedError: forged, expired, for somebody else, or without a role here.

        """
        config = self._config
        if len(text) > _LONGEST:
            raise DeniedError(f"expected a JWT of at most {_LONGEST} bytes, found {len(text)}")
        try:
            claims = self._jwt.decode(
                text,
                key=self._key(text),
                algorithms=list(ALGORITHMS),
                audience=config.audience,
                issuer=config.issuer,
                leeway=config.leeway_s,
                options={"require": ["exp", "iss", "aud", config.name_claim]},
            )
        except (self._jwt.PyJWTError, ValueError) as error:
            raise DeniedError(f"JWT refused: {error}") from error
        said = _at(claims, config.roles_claim)
        groups = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        roles = [Role.of(config.roles[group]) for group in groups if group in config.roles]
        name = str(claims[config.name_claim])
        if not roles:
            raise DeniedError(f"{name}: no value of {config.roles_claim} has a role here")
        return Principal(name, max(roles), by="oidc")

    def _key(self, text: str) -> Any:
        if self._client is not None:
            return self._client.get_signing_key_from_jwt(text).key
        key_id = self._jwt.get_unverified_header(text).get("kid")
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values())).key
        if key_id not in self._keys:
            raise DeniedError("JWT refused: its key is not among the provider's")
        return self._keys[key_id].key


def _at(claims: Mapping[str, Any], path: str) -> Any:
    value: Any = claims
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
