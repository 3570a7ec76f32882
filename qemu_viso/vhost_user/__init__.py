"""An image as a vhost-user-blk device."""
