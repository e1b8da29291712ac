"""Every package of `cargo metadata` (stdin) has a licence that the list (first argument, one a line) allows.

An expression with OR needs one allowed licence, one with AND needs all."""

import json
import sys


def allowed(expression, licences):
    either = expression.replace("(", " ").replace(")", " ").replace("/", " OR ").split(" OR ")
    return any(all(one.strip() in licences for one in both.split(" AND ")) for both in either)


with open(sys.argv[1]) as lines:
    licences = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
packages = json.load(sys.stdin)["packages"]
refused = [f"{p['name']} {p['version']}: {p['license']}" for p in packages if not allowed(p["license"] or "", licences)]
print(f"{len(packages)} packages, {len(refused)} with a licence that is not on the list")
print("\n".join(refused))
sys.exit(bool(refused))
