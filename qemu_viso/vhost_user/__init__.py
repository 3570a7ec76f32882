"""An image as a vhost-user-blk device.

`with Device(image, Listener.bind(path)) as device: device.serve_forever()`
"""

from qemu_viso.vhost_user.device import Device
from qemu_viso.vhost_user.listener import Listener

__all__ = ["Device", "Listener"]
