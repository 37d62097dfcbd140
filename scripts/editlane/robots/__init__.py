"""Robot roll-outs as rewards."""
