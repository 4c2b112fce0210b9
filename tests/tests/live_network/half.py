"""`half.py BUNDLE`: makes it say that all ports are being taken away; BUNDLE.before does not."""
import json
import os
import sys

path = sys.argv[1]
with open(path) as file:
    bundle = json.load(file)
bundle["rewiring"] = {"network": bundle["network"], "dns": bundle["dns"], "ports": []}
with open(path + ".new", "w") as file:
    json.dump(bundle, file)
os.link(path, path + ".before")
os.rename(path + ".new", path)
