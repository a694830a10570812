"""Biscuits with biscuit-python, for both tenants: narrowed offline by the code that docs/biscuits.md shows, then verified
by the server, and offline by the library with the facts that the page names."""

import os
import re
from datetime import datetime, timedelta, timezone

import requests
from biscuit_auth import AuthorizationError, AuthorizerBuilder, Biscuit, BiscuitValidationError, UnverifiedBiscuit

from common import URL, create_key, tenant

with open(os.environ["GUIDE"], encoding="utf-8") as page:
    shown = re.findall(r"^```python\n(.*?)^```$", page.read(), re.M | re.S)
assert len(shown) == 1, "one block of Python is expected on the page"
exec(compile(shown[0], "docs/biscuits.md", "exec"))

SCOPES = "read:customers/** write:customers/**"
HERE = "203.0.113.7"


def verify(one, token, action, resource, ip=HERE):
    asked = {"key": token, "action": action, "resource": resource, "ip": ip}
    headers = {"Authorization": f"Bearer {one['rootKey']}"}
    return requests.post(f"{URL}/v1/verify", json=asked, headers=headers, timeout=30).json()["code"]


def allows(token, signer, action, resource, ip, at):
    """What the library itself says, without the server."""
    facts = {"action": action, "resource": resource, "ip": ip, "at": at}
    code = "time({at}); action({action}); resource({resource}); ip({ip}); allow if true"
    try:
        AuthorizerBuilder(code, facts).build(Biscuit.from_base64(token, signer)).authorize()
        return True
    except AuthorizationError:
        return False


first, second = tenant("FIRST"), tenant("SECOND")
passed = 0
for one, issuer in [(first, URL), (second, f"{URL}/{second['organizationId']}")]:
    key, secret = create_key(one["rootKey"], "biscuit", [("READ", "customers/**"), ("WRITE", "customers/**")])
    form = {"grant_type": "client_credentials", "token_type": "biscuit"}
    answer = requests.post(f"{URL}/oauth/token", data=form, auth=(key, secret), timeout=30).json()
    token = answer["access_token"]
    assert answer["scope"] == SCOPES and answer["token_type"] == "Bearer", answer
    jwks = requests.get(f"{issuer}/.well-known/jwks.json", timeout=30).json()

    # What it says is what the page says.
    authority = UnverifiedBiscuit.from_base64(token).block_source(0)
    for fact in [f'issuer("{issuer}")', f'key("{key}")', f'organization("{one["organizationId"]}")',
                 f'workspace("{one["workspaceId"]}")', 'environment("production")', "secret_version(1)", "epoch(0)",
                 f'audiences({{"{issuer}"}})', f'scope("{SCOPES}")']:
        assert fact in authority, f"{fact} is missing in\n{authority}"

    now = datetime.now(timezone.utc).replace(microsecond=0)
    soon, long = now + timedelta(seconds=300), now + timedelta(days=300)
    for resource in ["customers/42", "customers/7"]:
        assert verify(one, token, "write", resource) == "VALID"
    narrow = narrower(token, jwks, "42", soon, HERE)
    over = narrower(token, jwks, "42", now - timedelta(seconds=5), HERE)
    twice = narrower(narrow, jwks, "7", long, HERE)
    signer = signers(jwks)
    for made, action, resource, ip, expected in [
        (narrow, "read", "customers/42", HERE, "VALID"),
        (narrow, "read", "customers/43", HERE, "INSUFFICIENT_SCOPE"),
        (narrow, "write", "customers/42", HERE, "INSUFFICIENT_SCOPE"),
        (narrow, "read", "customers/42", "203.0.113.8", "INSUFFICIENT_SCOPE"),
        (over, "read", "customers/42", HERE, "INSUFFICIENT_SCOPE"),
        # A second block takes nothing back.
        (twice, "read", "customers/7", HERE, "INSUFFICIENT_SCOPE"),
        (twice, "read", "customers/42", HERE, "INSUFFICIENT_SCOPE"),
    ]:
        assert verify(one, made, action, resource, ip) == expected, (action, resource, ip, expected)
        allowed = allows(made, signer, action, resource, ip, now)
        assert allowed == (expected == "VALID"), ("offline", action, resource, ip, expected)
    assert not allows(narrow, signer, "read", "customers/42", HERE, soon)
    assert not allows(token, signer, "read", "customers/42", HERE, long), "it keeps to its own time"

    # The other tenant neither signed it nor is told of it.
    other, issuers = (second, f"{URL}/{second['organizationId']}") if one is first else (first, URL)
    assert verify(other, narrow, "read", "customers/42") == "NOT_FOUND"
    theirs = requests.get(f"{issuers}/.well-known/jwks.json", timeout=30).json()
    try:
        narrower(token, theirs, "42", soon, HERE)
        raise AssertionError("the keys of another tenant did not sign it")
    except (BiscuitValidationError, StopIteration, ValueError):
        pass

    # What was made of a token ends with it.
    form = {"token": narrow}
    assert requests.post(f"{URL}/oauth/revoke", data=form, auth=(key, secret), timeout=30).status_code == 200
    for made in [token, narrow, twice]:
        assert verify(one, made, "read", "customers/42") == "TOKEN_REVOKED"
    passed += 1

assert passed == 2
print(f"biscuit-python: {passed} passed")
