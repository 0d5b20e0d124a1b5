"""Maps, curves and evaluations made visible: colours, overlays, charts, manifests, reports."""
