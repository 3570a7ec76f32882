"""An image served over the NBD protocol."""
