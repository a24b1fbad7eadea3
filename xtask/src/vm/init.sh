#!/bin/busybox sh
# Process 1 of the guest: shows it the host's root, read-only beneath a layer on a disk of its own, and runs the tests in there.
# The kernel's console is the first serial port; what the tests say goes to the second.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
exec >/dev/ttyS1 2>&1
# Some of them are built into some kernels.
for module in virtio_pci 9pnet_virtio 9p overlay virtio_blk crc32c_generic ext4 tun tcp_diag; do
    modprobe "$module" 2>/dev/null
done
mkdir -p /host /layer /guest
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host || echo "@@ broken the host's root does not mount"
mke2fs /dev/vda >/dev/null
mount -t ext4 /dev/vda /layer || echo "@@ broken the guest's own disk does not mount"
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /guest || echo "@@ broken overlayfs does not mount"
mount -t proc proc /guest/proc
mount -t sysfs sys /guest/sys
mount -t devtmpfs dev /guest/dev
mkdir -p /guest/dev/pts
mount -t devpts -o ptmxmode=0666 devpts /guest/dev/pts
mount -t cgroup2 cgroup2 /guest/sys/fs/cgroup || echo "@@ broken cgroup2 does not mount"
cp /tests.sh /guest/tests.sh
ip link set lo up
chroot /guest /bin/sh /tests.sh
echo "@@ done"
poweroff -f
