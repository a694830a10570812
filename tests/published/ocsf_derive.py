#!/usr/bin/env python3
"""Derives a JSON Schema of two OCSF classes from a checkout of the published definitions.

    git clone https://github.com/ocsf/ocsf-schema && cd ocsf-schema && git checkout 1.8.0
    python3 ocsf_derive.py . > ocsf-1.8.0.schema.json

Objects that exports write are followed; of every other object only that it is one is checked. Attributes of
profiles are left out, since exports use none: whatever is not listed is refused.
"""
import json
import pathlib
import sys

ROOT = pathlib.Path(sys.argv[1])
CLASSES = ["events/iam/entity_management.json", "events/application/api_activity.json"]
FOLLOWED = ["metadata", "product", "actor", "user", "network_endpoint", "api", "request", "service",
            "resource_details", "managed_entity", "http_request"]


def load(path):
    return json.loads((ROOT / path).read_text())


DICTIONARY = load("dictionary.json")
TYPES = DICTIONARY["types"]["attributes"]
SOURCES = {}
for folder in ["events", "objects"]:
    for path in sorted((ROOT / folder).rglob("*.json")):
        found = json.loads(path.read_text())
        SOURCES[(folder, found.get("name"))] = found


def whole(folder, name):
    """Attributes and constraints with those of all that it extends."""
    own = SOURCES[(folder, name)]
    attributes, constraints = {}, {}
    if "extends" in own:
        attributes, constraints = whole(folder, own["extends"])
    attributes, constraints = dict(attributes), dict(own.get("constraints", constraints))
    for key, value in own.get("attributes", {}).items():
        if key == "$include":
            continue
        merged = {**attributes.get(key, {}), **value}
        if "enum" in value and "enum" in attributes.get(key, {}):
            merged["enum"] = {**attributes[key]["enum"], **value["enum"]}
        attributes[key] = merged
    return attributes, constraints


def primitive(name):
    known = TYPES[name]
    base = known.get("type", name)
    kinds = {"string_t": "string", "integer_t": "integer", "long_t": "integer", "boolean_t": "boolean",
             "float_t": "number"}
    if base not in kinds:
        return {}
    schema = {"type": kinds[base]}
    if "regex" in known:
        schema["pattern"] = known["regex"]
    if "max_len" in known:
        schema["maxLength"] = known["max_len"]
    if "range" in known:
        schema["minimum"], schema["maximum"] = known["range"]
    return schema


def attribute(name, own):
    known = {**DICTIONARY["attributes"].get(name, {}), **own}
    kind = known["type"]
    if kind in TYPES:
        schema = primitive(kind)
    elif kind in FOLLOWED:
        schema = {"$ref": f"#/$defs/{kind}"}
    else:
        schema = {"type": "object"}
    values = {**DICTIONARY["attributes"].get(name, {}).get("enum", {}), **own.get("enum", {})}
    if values:
        schema["enum"] = sorted(map(int, values)) if schema.get("type") == "integer" else sorted(values)
    if known.get("is_array"):
        schema = {"type": "array", "items": schema}
    return schema


def schema(attributes, constraints):
    used = {name: own for name, own in attributes.items() if own.get("profile") is None}
    found = {"type": "object", "additionalProperties": False,
             "properties": {name: attribute(name, own) for name, own in sorted(used.items())},
             "required": sorted(name for name, own in used.items() if own.get("requirement") == "required")}
    if "at_least_one" in constraints:
        found["anyOf"] = [{"required": [name]} for name in constraints["at_least_one"]]
    if "just_one" in constraints:
        found["oneOf"] = [{"required": [name]} for name in constraints["just_one"]]
    return found


def event(path):
    own = load(path)
    attributes, constraints = whole("events", own["name"])
    category = own.get("category") or SOURCES[("events", own["extends"])]["category"]
    category = load("categories.json")["attributes"][category]["uid"]
    class_uid = category * 1000 + own["uid"]
    found = schema(attributes, constraints)
    activities = found["properties"]["activity_id"]["enum"]
    found["properties"]["category_uid"] = {"const": category}
    found["properties"]["class_uid"] = {"const": class_uid}
    found["properties"]["type_uid"] = {"enum": [class_uid * 100 + activity for activity in activities]}
    found["allOf"] = [{"if": {"properties": {"activity_id": {"const": activity}}},
                       "then": {"properties": {"type_uid": {"const": class_uid * 100 + activity}}}}
                      for activity in activities]
    return class_uid, found


events = dict(map(event, CLASSES))
version = load("version.json")["version"]
result = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$comment": f"Derived by ocsf_derive.py from the definitions of OCSF {version}, tag {version} of "
                "https://github.com/ocsf/ocsf-schema. Copyright OCSF a Series of LF Projects, LLC. "
                "Licensed under the Apache License 2.0.",
    "oneOf": [{"$ref": f"#/$defs/{uid}"} for uid in events],
    "$defs": {**{str(uid): found for uid, found in events.items()},
              **{name: schema(*whole("objects", name)) for name in FOLLOWED}},
}
print(json.dumps(result, indent=1, sort_keys=True))
