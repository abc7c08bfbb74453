# Removes a cluster that is no longer in use: $1 is its folder, $2 how many idle seconds a shared
# one is kept.
# Runs as the server's user, in a process group of its own, and uses only POSIX sh and the usual
# tools.
base=$1
linger=$2

if [ -p "$base/alive" ]; then
    # Shared: a process that uses the cluster holds the writing end of this pipe, and writes a byte
    # when joining.
    # Opened for both first, because opening for reading alone waits for a writer.
    exec 3<>"$base/alive" 4<"$base/alive" 3>&-
    idle=0
    while [ "$idle" -lt "$linger" ]; do
        # `cat` ends when the last user is gone, however that came about.
        if [ -n "$(cat <&4)" ]; then idle=0; else idle=$((idle + 1)); fi
        sleep 1
    done
    # Unpublish first, then look once more: a process that joined before keeps the cluster, and one
    # that comes later finds no address.
    rm -f "$base/address"
    cat <&4 >/dev/null
else
    # Private: the test process holds the other end of our standard input.
    cat >/dev/null
fi

# Every process whose working directory is inside the folder is a server of this cluster.
is_ours() {
    if [ -e /proc/self/cwd ]; then
        case $(readlink "/proc/$1/cwd") in "$base" | "$base"/*) return 0 ;; *) return 1 ;; esac
    fi
    ps -o command= -p "$1" | grep -qF "$base/"
} 2>/dev/null

tries=0
while pid=$(sed -n 1p "$base/data/postmaster.pid" 2>/dev/null) && [ -n "$pid" ] && is_ours "$pid"; do
    signal=QUIT
    # The postmaster itself gives its children five seconds.
    if [ "$tries" -ge 70 ]; then signal=KILL; fi
    if [ "$tries" -ge 100 ]; then break; fi
    kill -s "$signal" "$pid" 2>/dev/null
    kill -s CONT "$pid" 2>/dev/null
    sleep 0.1
    tries=$((tries + 1))
done

# Backends whose postmaster was killed, and a postmaster that had not written its file yet.
ls -ld /proc/[0-9]*/cwd 2>/dev/null | grep -F -e "-> $base" | sed 's|.*/proc/\([0-9]*\)/cwd.*|\1|' |
    while read -r pid; do
        if is_ours "$pid"; then kill -s KILL "$pid" 2>/dev/null; fi
    done

# A postmaster that was killed leaves its interlock of 56 bytes behind.
segment=$(sed -n '7s/.* //p' "$base/data/postmaster.pid" 2>/dev/null)
if [ -n "$segment" ]; then ipcrm -m "$segment" 2>/dev/null; fi

while ! rm -rf "$base" 2>/dev/null; do
    sleep 0.1
    tries=$((tries + 1))
    if [ "$tries" -ge 150 ]; then exit 1; fi
done
