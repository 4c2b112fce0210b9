# What a virtual machine runs first whose init is systemd: the disk with systemd becomes the root.
export PATH=/bin:/sbin
modprobe virtio_pci
modprobe virtio_blk
modprobe ext4
for try in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; sleep 0.2; done
mkdir /sysroot && mount -t ext4 /dev/vda /sysroot
cp /bin/berth /sysroot/usr/local/bin/
cp -r /given /sysroot/
cp -r /lib/modules /sysroot/lib/
for part in proc sys dev; do mount --move /$part /sysroot/$part; done
# Busybox looks for one before it empties the old root.
: >/init
exec switch_root /sysroot /lib/systemd/systemd
