"""Bearer tokens, OIDC tokens, roles and rate limits, without a server."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from foreshade.adapters.auth.rate_limit import Rate, RateLimit
from foreshade.adapters.auth.role import Principal, Role, Scope
from foreshade.adapters.auth.token import (
    DeniedError,
    MemoryTokens,
    digest_of,
    mint,
    redact,
    span,
    verify,
)
from foreshade.envs.errors import InputError

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def tokens():
    return MemoryTokens()


def made(tokens, **kwargs):
    text, record = mint("ci", Role.OPERATOR, DAY, NOW, **kwargs)
    tokens.add(record)
    return text, record


def test_a_token_says_who_holds_it_and_is_kept_as_a_hash_alone(tokens):
    text, record = made(tokens)
    assert verify(text, tokens, NOW) == Principal("ci", Role.OPERATOR)
    assert record.digest == digest_of(text)
    assert text.split("_", 2)[2] not in repr(record)


@pytest.mark.parametrize("change", [-1, 0, 40, 5])
def test_a_forged_token_is_refused(tokens, change):
    text, _ = made(tokens)
    forged = (
        text[:change] + ("x" if text[change] != "x" else "y") + (text[change + 1 :] if change != -1 else "")
    )
    with pytest.raises(DeniedError, match="no such token"):
        verify(forged, tokens, NOW)


def test_a_token_ends_with_its_time_and_with_its_revocation(tokens):
    text, record = made(tokens)
    verify(text, tokens, NOW + DAY - timedelta(seconds=1))
    with pytest.raises(DeniedError, match="expired"):
        verify(text, tokens, NOW + DAY)
    assert tokens.revoke(record.id, NOW)
    assert not tokens.revoke(record.id, NOW)
    with pytest.raises(DeniedError, match="revoked"):
        verify(text, tokens, NOW)


def test_a_token_cannot_live_for_ever():
    with pytest.raises(InputError, match="at most 366 days"):
        mint("ci", Role.VIEWER, timedelta(days=367), NOW)


@pytest.mark.parametrize("text", ["", "5", "0d", "-1d", "1w", "9" * 9 + "d", "1d1h"])
def test_a_time_is_written_in_one_way(text):
    with pytest.raises(InputError, match="15m, 12h or 30d"):
        span(text)


def test_scopes_hold_a_role_to_a_part():
    who = Principal("ci", Role.ADMIN, frozenset({Scope.METRICS}))
    assert who.may(Role.VIEWER, Scope.METRICS)
    assert not who.may(Role.VIEWER, Scope.PLANS)
    assert not Principal("eve", Role.VIEWER).may(Role.OPERATOR, Scope.PLANS)


def test_secrets_do_not_survive_redaction(tokens):
    text, record = made(tokens)
    said = redact(f"GET /x Authorization: Bearer {text}; bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
    assert text.split("_", 2)[2] not in said
    assert record.id in said
    assert "eyJ" not in said


def test_a_bucket_refills_and_callers_do_not_share():
    clock = [0.0]
    limit = RateLimit(Rate(per_s=2.0, burst=3.0), lambda: clock[0], most_callers=2)
    assert [limit.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limit.wait_s("b") == 0.0
    clock[0] = 0.5
    assert [limit.wait_s("a"), limit.wait_s("a")] == [0.0, 0.5]
    clock[0] = 100.0
    assert [limit.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5], "never more than a burst"


# --- OIDC


@pytest.fixture(scope="module")
def provider():
    jwt = pytest.importorskip("jwt", reason="PyJWT IS MISSING: OIDC is not tested")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())) | {"kid": "k1", "use": "sig"}
    return jwt, key, {"keys": [public]}


@pytest.fixture
def oidc(provider, tmp_path):
    from foreshade.adapters.auth.oidc import Oidc, OidcConfig  # noqa: PLC0415

    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(provider[2]))
    roles = {"dc-ops": "operator", "dc-all": "viewer"}
    return Oidc(
        OidcConfig(
            issuer="https://id", audience="foreshade", jwks_file=file, roles=roles, roles_claim="a.groups"
        )
    )


def token_of(provider, key=None, headers=None, algorithm="ES256", **claims):
    jwt, own, _ = provider
    now = datetime.now(UTC)
    said = {
        "iss": "https://id",
        "aud": "foreshade",
        "sub": "kim",
        "exp": now + timedelta(minutes=5),
        "a": {"groups": ["dc-all", "dc-ops", "cooks"]},
    }
    said = {name: value for name, value in (said | claims).items() if value is not None}
    return jwt.encode(
        said, own if key is None else key, algorithm=algorithm, headers=headers or {"kid": "k1"}
    )


def test_a_jwt_of_the_provider_has_the_highest_role_of_its_groups(provider, oidc):
    assert oidc.verify(token_of(provider)) == Principal("kim", Role.OPERATOR, by="oidc")


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": datetime.now(UTC) - timedelta(hours=1)}, "expired"),
        ({"exp": None}, "exp"),
        ({"aud": "another"}, "[Aa]udience"),
        ({"iss": "https://evil"}, "[Ii]ssuer"),
        ({"a": {"groups": ["cooks"]}}, "no value of a.groups"),
        ({"a": "dc-ops"}, "no value of a.groups"),
        ({"nbf": datetime.now(UTC) + timedelta(hours=1)}, "not yet valid"),
    ],
)
def test_a_jwt_that_is_not_for_us_is_refused(provider, oidc, claims, why):
    with pytest.raises(DeniedError, match=why):
        oidc.verify(token_of(provider, **claims))


def test_a_jwt_signed_by_others_or_by_nobody_is_refused(provider, oidc):
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    with pytest.raises(DeniedError, match=r"[Ss]ignature"):
        oidc.verify(token_of(provider, key=ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(DeniedError, match="not among"):
        oidc.verify(token_of(provider, headers={"kid": "k2"}))
    with pytest.raises(DeniedError, match="refused"):
        oidc.verify(token_of(provider, key="", algorithm="none"))
    with pytest.raises(DeniedError, match="refused"):  # signed with a shared secret, which anybody may know
        oidc.verify(token_of(provider, key="s" * 64, algorithm="HS256"))
    for junk in ("", "a.b", "x" * 20_000, "é.é.é", "e30.e30.e30"):
        with pytest.raises(DeniedError):
            oidc.verify(junk)
