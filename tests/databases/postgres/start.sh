# Starts PostgreSQL: its programs, the port, the directory of its data, and further arguments.
bin=$1 port=$2 data=$3
shift 3
as=
# It refuses to be started by root, and its user has to reach its files.
if [ "$(id -u)" = 0 ]; then
    chmod 711 "$(dirname "$data")" && chown 65534:65534 "$data" || exit
    as='setpriv --reuid=65534 --regid=65534 --clear-groups'
fi
cd "$data" || exit
if [ ! -e PG_VERSION ]; then
    $as "$bin/initdb" --pgdata . --username postgres --auth trust --encoding UTF8 --no-locale --no-sync || exit
fi
# Processes of a server that was killed may go on for a moment, and keep another one from starting.
tries=0
while [ -e postmaster.pid ] && ! $as "$bin/postgres" --single -D . template1 </dev/null >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || break
    sleep 0.1
done
# What a process has written stays if that is killed, synced or not.
exec $as "$bin/postgres" -D . -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c fsync=off -c max_connections=200 "$@"
