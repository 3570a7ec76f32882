#!/bin/busybox sh
# The guest's agent: the first process of a Linux that knows busybox, and the only one.
#
# It reads requests, a line each, from a virtio-serial port, mounts the medium as asked, and answers with what the
# kernel shows. It judges nothing and hashes nothing: the host does, which is faster.
#
#   VIEW id device namespace limit      everything about the file system; content of files smaller than limit bytes
#   READ id device namespace offset length path     a piece of one file; path with \0ooo escapes
#   QUIT                                 switch the machine off
#
# Answer to VIEW:  VIEW id LF, VOLUME n LF, n bytes of volume description,
#                  every path ended by NUL, one more NUL,
#                  a line from stat for each path, in the same order,
#                  tar archives of the symbolic links and of the files that are small enough,
#                  END id paths find-status stat-status tar-status LF
# Answer to READ:  READ id n LF, n bytes, END id status LF
# Instead of either: FAIL id text LF

export PATH=/bin
set -o pipefail

say() { echo "qemu-viso: $*" >/dev/console; }

set_up() {
    mount -t devtmpfs dev /dev
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t tmpfs -o mode=0755 tmp /tmp
    while read -r module; do
        insmod "/lib/modules/$module" || say "the module $module cannot be loaded"
    done </etc/modules
    # A tray that the host has opened stays open until the host closes it.
    [ ! -e /proc/sys/dev/cdrom/autoclose ] || echo 0 >/proc/sys/dev/cdrom/autoclose
}

# The port's device is made by a driver that works in the background; so are disks.
wait_for() {
    tries=1200 # a minute: on a busy host devices appear late
    until [ -e "$1" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        usleep 50000
    done
}

find_port() {
    tries=1200 # a minute: on a busy host devices appear late
    while [ $tries -gt 0 ]; do
        for name in /sys/class/virtio-ports/*/name; do
            [ -e "$name" ] && [ "$(cat "$name")" = org.qemu-viso.agent ] || continue
            port=${name%/name}
            port=/dev/${port##*/}
            wait_for "$port" && return 0
        done
        tries=$((tries - 1))
        usleep 50000
    done
    return 1
}

options_of() {
    case $1 in
    rock) echo iso9660 ro,nojoliet ;;
    joliet) echo iso9660 ro,norock,utf8,check=strict ;; # else names that differ by case only are one file
    plain) echo iso9660 ro,norock,nojoliet ;;
    udf) echo udf ro,utf8,loud ;; # loud: busybox would keep the driver from naming the volume
    *) return 1 ;;
    esac
}

# fail ID TEXT…: one line, whatever the text.
fail() {
    id=$1
    shift
    printf 'FAIL %s %s\n' "$id" "$(echo "$*" | tr '\n\r' '  ')" >&3
}

# mount_medium ID DEVICE NAMESPACE: at /mnt, or an answer that says why not.
mount_medium() {
    kind=$(options_of "$3") || { fail "$1" "unknown namespace $3"; return 1; }
    wait_for "/dev/$2" || { fail "$1" "the kernel shows no device $2"; return 1; }
    # An IDE drive fails the first read after its medium was changed, to say so.
    dd if="/dev/$2" of=/dev/null bs=2048 count=1 2>/dev/null
    dmesg -c >/dev/null
    if ! why=$(mount -t "${kind% *}" -o "${kind#* }" "/dev/$2" /mnt 2>&1); then
        fail "$1" "$why ($(dmesg | tail -n 3))"
        return 1
    fi
}

# What tells the volume's label: the ISO 9660 descriptors themselves, or the UDF driver's message.
describe_volume() {
    case $2 in
    udf) dmesg | grep 'UDF-fs: INFO Mounting volume' >/tmp/volume ;;
    *) dd if="/dev/$1" of=/tmp/volume bs=2048 skip=16 count=16 2>/dev/null ;;
    esac
    echo "VOLUME $(wc -c </tmp/volume)" >&3
    cat /tmp/volume >&3
}

# Every write to the port is a round trip to the host: what comes in small pieces is gathered into large ones.
gather() { dd bs=65536 iflag=fullblock 2>/dev/null >&3; }

archive() { xargs -0 -r tar -c -f - 2>>/tmp/errors; }

view() { # id device namespace limit
    mount_medium "$1" "$2" "$3" || return
    cd /mnt || { fail "$1" 'the file system cannot be entered'; return; }
    echo "VIEW $1" >&3
    describe_volume "$2" "$3"
    find . -print0 >/tmp/paths 2>/tmp/errors
    found=$?
    cat /tmp/paths >&3
    printf '\0' >&3
    # From a pipe: busybox's xargs forks without exec, and a child that exits would rewind a file under its parent.
    cat /tmp/paths | xargs -0 stat -c '%f %s %u %g %h %t %T %Y %y' 2>>/tmp/errors | gather
    stated=$?
    small=65536
    [ "$4" -ge $small ] || small=$4
    find . \( -type l -o -type f -size "-${small}c" \) -print0 | archive | gather
    archived=$?
    if [ "$4" -gt $small ]; then
        find . -type f -size "+$((small - 1))c" -size "-$4c" -print0 | archive >&3
        archived=$((archived + $?))
    fi
    # An archive that broke off leaves the host waiting for the rest of a file: tell it by the console.
    [ $archived = 0 ] || say "failed $1: $(tail -n 1 /tmp/errors)"
    echo "END $1 $(tr -cd '\0' </tmp/paths | wc -c) $found $stated $archived" >&3
    [ ! -s /tmp/errors ] || say "$(head -n 3 /tmp/errors)"
    cd / && umount /mnt
}

piece() { # id device namespace offset length path
    mount_medium "$1" "$2" "$3" || return
    # The x keeps line ends at the end of a name, which $() would drop.
    path=$(printf '%bx' "$6")
    : >/tmp/piece
    dd if="/mnt${path%x}" of=/tmp/piece bs=65536 iflag=skip_bytes,count_bytes,fullblock skip="$4" count="$5" \
        2>/tmp/errors
    status=$?
    echo "READ $1 $(wc -c </tmp/piece)" >&3
    cat /tmp/piece >&3
    echo "END $1 $status" >&3
    rm /tmp/piece
    umount /mnt
}

serve() {
    while read -r verb id device namespace rest <&3; do
        case $verb in
        VIEW) view "$id" "$device" "$namespace" "$rest" ;;
        READ)
            # shellcheck disable=SC2086  # three words, of which none holds a blank
            piece "$id" "$device" "$namespace" $rest
            ;;
        QUIT) return ;;
        *) fail "${id:-0}" "unknown request $verb" ;;
        esac
    done
}

set_up
if find_port; then
    exec 3<>"$port"
    echo "HELLO qemu-viso-agent 1 $(uname -m) $(uname -r)" >&3
    serve
else
    say "there is no port for the agent"
fi
poweroff -f
