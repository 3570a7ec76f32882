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

# Every write to the port is a round trip to the host, and through a pipe every write wakes its reader: what comes in
# small pieces is gathered in memory, a batch of paths at a time, and then sent as a whole. Batches are made side by
# side, so that one works while another waits for the medium; who has taken the token may send. An archive that broke
# off is the last: what came behind it would be taken for the rest of a file.
# shellcheck disable=SC2016 # the shell that xargs starts expands it
BATCH='"$0" "$@" >/tmp/batch.$$ 2>>/tmp/errors
status=$?
read -r token <&4
[ -e /tmp/broken ] || cat /tmp/batch.$$ >&3
[ $status = 0 ] || : >/tmp/broken
: >/tmp/batch.$$
echo >&4
exit $status'

# batches WORKERS PATHS COMMAND…: as many batches at a time, of as many of the paths that come in.
batches() {
    workers=$1 paths=$2
    shift 2
    xargs -0 -r -P "$workers" -n "$paths" sh -c "$BATCH" "$@"
}

SMALL=65536 # bytes; of smaller files, 250 are a batch of 16 MiB at most

# contents LIMIT: archives of links, and of the files that are smaller.
contents() {
    below=$SMALL
    [ "$1" -ge $SMALL ] || below=$1
    find . \( -type l -o -type f -size "-${below}c" \) -print0 | batches 4 250 tar -c -f - || return
    [ "$1" -gt $SMALL ] || return 0
    find . -type f ! -size "-${SMALL}c" -size "-$1c" -print0 | xargs -0 -r tar -c -f - 2>>/tmp/errors >&3
}

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
    # shellcheck disable=SC2002
    cat /tmp/paths | batches 1 1000 stat -c '%f %s %u %g %h %t %T %Y %y'
    stated=$?
    contents "$4"
    archived=$?
    # An archive that broke off leaves the host waiting for the rest of a file: tell it by the console.
    [ $archived = 0 ] || say "failed $1: $(tail -n 1 /tmp/errors)"
    echo "END $1 $(tr -cd '\0' </tmp/paths | wc -c) $found $stated $archived" >&3
    [ ! -s /tmp/errors ] || say "$(head -n 3 /tmp/errors)"
    rm -f /tmp/batch.* /tmp/broken
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
    mkfifo /tmp/token
    exec 4<>/tmp/token
    echo >&4
    echo "HELLO qemu-viso-agent 1 $(uname -m) $(uname -r)" >&3
    serve
else
    say "there is no port for the agent"
fi
poweroff -f
