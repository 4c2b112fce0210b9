"""`cut.py BUNDLE RECORD`: makes them say that a change of all links and ports is under way."""
import json
import sys

bundle, record = sys.argv[1:]


def change(path, work):
    with open(path) as file:
        value = json.load(file)
    work(value)
    with open(path, "w") as file:
        json.dump(value, file)


def rewiring(value):
    dns = dict(value["dns"], networks={})
    value["rewiring"] = {"network": {"own": []}, "dns": dns, "ports": []}


change(bundle, rewiring)
change(record, lambda value: value.update(updating=True))
