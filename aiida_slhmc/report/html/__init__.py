"""A run as one HTML file that needs no network: gathered from the graph (read only), drawn, and put on a page."""
