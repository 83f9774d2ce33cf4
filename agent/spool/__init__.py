"""The agent's store-and-forward disk queue (DESIGN.md section 2): numbered batches until the hub's receipt."""
