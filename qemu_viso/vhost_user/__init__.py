"""An image as a vhost-user-blk device.

`with Device(image, UnixListener.bind(path)) as device: device.serve_forever()`
"""

from qemu_viso.vhost_user.device import Device

__all__ = ["Device"]
