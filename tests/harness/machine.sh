# The first process of a private machine. Arguments: its folder, its address, the neighbour's
# address, then each cgroup hierarchy as "MOUNT TYPE OPTIONS".
dir=$1 ip=$2 neighbour=$3
shift 3

# What the kernel shows of this machine, and nothing of the real host's.
mount -t sysfs sysfs /sys
case $1 in
"/sys/fs/cgroup cgroup2"*) ;;
*) mount -t tmpfs -o mode=755 cgroups /sys/fs/cgroup ;;
esac
for hierarchy in "$@"; do
    read -r mount type options <<<"$hierarchy"
    mkdir -p "$mount"
    mount -t "$type" ${options:+-o "$options"} "$type" "$mount"
    if [ "$type" = cgroup2 ]; then echo $$ >"$mount/init/cgroup.procs"; fi
done

mount -t tmpfs -o mode=755 run /run
mkdir -m 1777 /run/lock
mount --bind "$dir/var-lib" /var/lib
mount --bind "$dir/resolv.conf" /etc/resolv.conf
hostname machine

# A neighbour on the same wire, and the way to the rest of the world: there is none behind it.
unshare --net sleep infinity &
for _ in $(seq 500); do
    # It is there when it sleeps: the ledger knows processes by their names.
    [ "$(cat /proc/$!/comm)" = sleep ] && break
    sleep 0.01
done
echo $! >"$dir/neighbour"
ip link set lo up
ip link add wire0 type veth peer name eth0 netns $!
# No link-local addresses: they come a second later, and the ledger would see that.
ip link set wire0 addrgenmode none
ip address add "$ip/24" dev wire0
ip address add 2001:db8::1/64 dev wire0 nodad
ip link set wire0 up
nsenter -t $! -n sh -e <<NEIGHBOUR
ip link set lo up
ip link set eth0 addrgenmode none
ip address add $neighbour/24 dev eth0
ip address add 2001:db8::2/64 dev eth0 nodad
ip link set eth0 up
NEIGHBOUR
ip route add default via "$neighbour"
# The kernel may tell of the carrier up to a second later, and it gives the IPv6 address its route after
# that: the ledger would see both. To be asked for one link alone makes it look.
for _ in $(seq 500); do
    case $(ip -o link show wire0; ip -6 route show table local dev wire0) in
    *"state UP"*2001:db8::1*) break ;;
    esac
    sleep 0.01
done

echo ready
exec >/dev/null
# Reaps what is orphaned on this machine, as any first process does.
while :; do wait || true; sleep 1; done
