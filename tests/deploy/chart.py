"""Renders the chart with the engine of Helm itself, and checks the result against the schemas of Kubernetes.

    python chart.py deploy/helm/tidegate VALUES        # VALUES as JSON

Prints {"lint": [...], "objects": [...]}. Values that the chart's schema refuses end it with the message of Helm.
"""

import json
import sys

import helm_python as helm
import kubernetes_validate
import yaml

# Kinds of operators, which Kubernetes itself does not know.
FOREIGN = {"ServiceMonitor"}
# The oldest version that the chart names, and a recent one.
VERSIONS = ("1.25", "1.33")

chart, values = sys.argv[1], json.loads(sys.argv[2])
found = helm.lint(chart)
with helm.Chart.load(chart) as loaded:
    loaded.validate_schema(values)
    rendered = loaded.render(values, name="edge", namespace="prod")
texts = [text for name, text in rendered.items() if not name.endswith(".txt")]
objects = [one for text in texts for one in yaml.safe_load_all(text) if one]
for one in objects:
    if one["kind"] not in FOREIGN:
        for version in VERSIONS:
            kubernetes_validate.validate(one, version, strict=True)
json.dump({"lint": found["messages"], "objects": objects}, sys.stdout)
