"""The YOLO stage: 2D views of candidates and the network that tells microbleeds from mimics."""
