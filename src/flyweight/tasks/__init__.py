"""Tasks: what a network's output means. One file each: its loss, its metric and the picture of a prediction."""
