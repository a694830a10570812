"""What the tests in Python share."""

import json
import os

import requests

URL = os.environ["SERVER_URL"]
CREATE = """mutation($name: String!, $scopes: [ScopeInput!]) {
    createKey(input: { name: $name, environment: PRODUCTION, scopes: $scopes }) { key { id } secret } }"""


def tenant(name):
    """What `init` showed of one."""
    with open(os.environ[name], encoding="utf-8") as file:
        return json.load(file)


def create_key(root_key, name, scopes):
    """A new key with these scopes: its id and its secret."""
    scopes = [{"action": action, "resource": resource} for action, resource in scopes]
    body = {"query": CREATE, "variables": {"name": name, "scopes": scopes}}
    headers = {"Authorization": f"Bearer {root_key}"}
    answer = requests.post(f"{URL}/graphql", json=body, headers=headers, timeout=30).json()
    assert "errors" not in answer, answer
    made = answer["data"]["createKey"]
    return made["key"]["id"], made["secret"]
