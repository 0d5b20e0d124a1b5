"""Maps and curves made visible: colours, overlays, charts, manifests."""
