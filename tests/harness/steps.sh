# What every script in a virtual machine goes on with: its stack, and steps.
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root
export NO_COLOR=1 COMPOSE_PROGRESS=plain BERTH_ALLOW=all
mkdir /stack && cd /stack && cp -r /given/stack/. .

# step NAME COMMAND…: runs it and tells what it said and how it ended.
step() {
    name=$1
    shift
    echo "[[$name]]"
    (eval "$*") </dev/null 2>&1
    echo "[[end $name $?]]"
}
