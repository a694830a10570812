"""Client credentials, tokens checked offline, introspection and revocation with Authlib, for both tenants."""

import warnings

warnings.simplefilter("ignore")

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.jose import JsonWebKey, JsonWebToken
from authlib.jose.errors import JoseError
from authlib.oauth2.rfc8414 import get_well_known_url

from common import URL, create_key, tenant

RESOURCE = "https://api.example/v1"


def refused(run, *errors):
    try:
        run()
    except errors as error:
        return error
    raise AssertionError("this was not refused")


first, second = tenant("FIRST"), tenant("SECOND")
passed = 0
for one, issuer in [(first, URL), (second, f"{URL}/{second['organizationId']}")]:
    key, secret = create_key(one["rootKey"], "authlib", [("READ", "customers/**")])
    server = requests.get(get_well_known_url(issuer, external=True), timeout=30).json()
    assert server["issuer"] == issuer, server
    keys = JsonWebKey.import_key_set(requests.get(server["jwks_uri"], timeout=30).json())
    for method in ["client_secret_basic", "client_secret_post"]:
        session = OAuth2Session(key, secret, token_endpoint_auth_method=method,
                                revocation_endpoint_auth_method=method)
        answer = session.fetch_token(server["token_endpoint"], grant_type="client_credentials",
                                     scope="read:customers/42", resource=RESOURCE)
        assert answer["scope"] == "read:customers/42" and answer["expires_in"] == 600, answer
        token = answer["access_token"]
        rules = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": RESOURCE},
                 "sub": {"essential": True, "value": key}, "exp": {"essential": True}}
        claims = JsonWebToken(["EdDSA"]).decode(token, keys, claims_options=rules)
        claims.validate()
        assert claims["scope"] == "read:customers/42"
        other = dict(rules, aud={"essential": True, "value": "https://other.example"})
        refused(JsonWebToken(["EdDSA"]).decode(token, keys, claims_options=other).validate, JoseError)
        header, payload, signature = token.split(".")
        changed = ".".join([header, payload, ("A" if signature[0] != "A" else "B") + signature[1:]])
        refused(lambda: JsonWebToken(["EdDSA"]).decode(changed, keys), JoseError)
        refused(lambda: JsonWebToken(["HS256"]).decode(token, keys), JoseError)

        whole = session.fetch_token(server["token_endpoint"], grant_type="client_credentials")["access_token"]
        told = session.introspect_token(server["introspection_endpoint"], token=whole).json()
        assert told["active"] is True and told["sub"] == key, told
        assert session.revoke_token(server["revocation_endpoint"], token=whole).status_code == 200
        told = session.introspect_token(server["introspection_endpoint"], token=whole).json()
        assert told == {"active": False}, told

        wide = lambda: session.fetch_token(server["token_endpoint"], grant_type="client_credentials", scope="read:*")
        assert refused(wide, OAuthError).error == "invalid_scope"
        wrong = OAuth2Session(key, "wrong", token_endpoint_auth_method=method)
        nobody = lambda: wrong.fetch_token(server["token_endpoint"], grant_type="client_credentials")
        assert refused(nobody, OAuthError).error == "invalid_client"
        passed += 1

assert passed == 4
print(f"Authlib: {passed} passed")
