#!/bin/busybox sh
# The first process of a Debian whose files lie on the first virtio disk: that disk stays as it is, changes are kept in
# memory, and everything else is Debian's own.

export PATH=/bin
busybox mkdir /lower /changes
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
    insmod "/lib/modules/$module" || echo "qemu-viso: the module $module cannot be loaded" >/dev/console
done </etc/modules

tries=1200 # a minute: on a busy host devices appear late
until [ -e /dev/vda ] || [ $tries -eq 0 ]; do
    tries=$((tries - 1))
    usleep 50000
done
mount -t ext4 -o ro /dev/vda /lower
mount -t tmpfs changes /changes
busybox mkdir /changes/upper /changes/work
mount -t overlay -o lowerdir=/lower,upperdir=/changes/upper,workdir=/changes/work root /mnt
umount /proc
umount /sys
umount /dev
exec busybox switch_root /mnt /sbin/init
