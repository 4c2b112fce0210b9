# `web.sh VERSION [MODE]`: answers as version.py does, and not always as it should.
case $2 in
second) # The second one that comes finds something missing.
    if ! mkdir /shared/first 2>/dev/null && mkdir /shared/second 2>/dev/null; then
        echo "no table called orders"
        exit 3
    fi
    ;;
pairs) # Nobody listens before two are there.
    mktemp -d /shared/here.XXXXXX
    until [ "$(ls /shared | wc -l)" -ge 2 ]; do sleep 0.05; done
    ;;
loop) # It listens, and ends a moment later.
    python3 /srv/version.py "$1" & sleep 1.5
    echo "out of orders"
    exit 4
    ;;
deaf) # It never listens.
    exec sleep 100000
    ;;
esac
exec python3 /srv/version.py "$1"
