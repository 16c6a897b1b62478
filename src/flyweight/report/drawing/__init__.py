"""How a network is drawn: units, their layout, and the renderings of it as SVG, PDF and PNG."""
