# Sourced first by what runs on a virtual machine: a host with cgroup v2 alone, a disk, a loopback.
export PATH=/bin:/sbin HOME=/root
mkdir -p /dev/pts /dev/shm /var/lib
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
modprobe virtio_pci
modprobe virtio_blk
modprobe ext4
modprobe overlay
for try in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; sleep 0.2; done
mount -t ext4 /dev/vda /var/lib
ip link set lo up
hostname vm
echo 'nameserver 127.0.0.1' >/etc/resolv.conf
echo root:x:0:0:root:/root:/bin/sh >/etc/passwd
