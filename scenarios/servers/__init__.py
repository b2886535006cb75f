"""Server models: one echo protocol served in a dozen ways, each a small program of its own."""
