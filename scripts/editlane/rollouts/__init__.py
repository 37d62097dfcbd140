"""Robot roll-outs as rewards: policy servers, simulators and the HTTP server that joins them."""
