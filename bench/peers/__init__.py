"""The same work through Braid, its peers and bare threads: `python -m bench.peers`."""
