"""MogFace's network in torch: normalised images -> scores and box offsets. Read `mogface_network.py` first."""
