#!/bin/sh
# Connects to each HOST:PORT from inside a build's container, with what the image has, all at once, and prints for each:
# target, hop (ok name route refused silence other), address, milliseconds, words; separated by tabs. The first line
# names the name servers. Usage: lookout.sh SECONDS HOST:PORT...
# Says `none` and nothing else where the image has nothing to connect with.
patience=$1
shift
tab=$(printf '\t')

servers=
while read -r word address _; do
    [ "$word" = nameserver ] && servers="$servers${servers:+ and }$address"
done 2>/dev/null </etc/resolv.conf
printf 'servers%s%s\n' "$tab" "$servers"

with_python() {
    exec python3 -c '
import errno, select, socket, sys, threading, time
patience = float(sys.argv[1])
def look(target):
    host, _, port = target.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except Exception as error:
        return "name", "", "", error
    order = ("route", "other", "silence", "refused")
    lock, done, left = threading.Lock(), threading.Event(), [len(found)]
    results = []
    def one(family, place):
        begun, line = time.monotonic(), socket.socket(family, socket.SOCK_STREAM)
        line.settimeout(patience)
        try:
            line.connect(place)
            result = ("ok", place[0], "%.3f" % ((time.monotonic() - begun) * 1000), "")
        except socket.timeout:
            result = ("silence", place[0], "", "nothing comes back within %g s" % patience)
        except OSError as error:
            hops = {errno.ECONNREFUSED: "refused", errno.ETIMEDOUT: "silence", errno.ENETUNREACH: "route", errno.EHOSTUNREACH: "route", errno.EADDRNOTAVAIL: "route"}
            result = (hops.get(error.errno, "other"), place[0], "", error.strerror)
        finally:
            line.close()
        with lock:
            results.append(result)
            left[0] -= 1
            if result[0] == "ok" or not left[0]:
                done.set()
    for family, _, _, _, place in found:
        threading.Thread(target=one, args=(family, place), daemon=True).start()
    done.wait(patience + 0.5)
    with lock:
        seen = list(results)
    for result in seen:
        if result[0] == "ok":
            return result
    if not seen:
        return "silence", found[0][4][0], "", "nothing comes back"
    worst = max(seen, key=lambda result: order.index(result[0]))
    if len(seen) == 1:
        return worst[0], worst[1], "", worst[3]
    return worst[0], worst[1], "", "; ".join("%s: %s" % (result[1], result[3]) for result in seen)
def tell(target):
    answer = "\t".join([target] + [str(one).replace("\n", " ") for one in look(target)]) + "\n"
    sys.stdout.write(answer)
    sys.stdout.flush()
threads = [threading.Thread(target=tell, args=(target,), daemon=True) for target in sys.argv[2:]]
[one.start() for one in threads]
until = time.monotonic() + patience + 1
[one.join(max(0, until - time.monotonic())) for one in threads]
' "$patience" "$@"
}

# What a tool says when it fails, as a hop; each line of it is one try.
hop_of() {
    case $1 in
        *[Rr]efused*) printf refused ;;
        *"not known"* | *"bad address"* | *"name resolution"* | *"No address"*) printf name ;;
        *"o route"* | *unreachable* | *"Cannot assign"*) printf route ;;
        '' | *"timed out"*) printf silence ;;
        *) printf other ;;
    esac
}

tell() {
    target=$1 status=$2 words=$3 spent=$4
    words=$(printf '%s' "$words" | tr '\n\t' '  ')
    if [ "$status" = 0 ]; then
        printf '%s\tok\t\t%s\t\n' "$target" "$spent"
    else
        printf '%s\t%s\t\t\t%s\n' "$target" "$(hop_of "$words")" "${words:-nothing comes back within $patience s}"
    fi
}

host_of() {
    host=${1%:*}
    host=${host#"["}
    printf '%s' "${host%"]"}"
}

with_bash() {
    for target in "$@"; do
        (
            # shellcheck disable=SC2016
            words=$(timeout "$patience" bash -c 'a=${EPOCHREALTIME:-}; exec 3<>"/dev/tcp/$0/$1" && b=${EPOCHREALTIME:-} &&
                [ -n "$a" ] && echo "$((${b/[.,]/} - ${a/[.,]/}))" || [ -e /dev/fd/3 ]' "$(host_of "$target")" "${target##*:}" 2>&1)
            status=$?
            spent=
            case $words in
                '' | *[!0-9]*) ;;
                *) spent=$((words / 1000)).$(printf '%03d' $((words % 1000))) ;;
            esac
            tell "$target" "$status" "$words" "$spent"
        ) &
    done
    wait
}

with_busybox() {
    for target in "$@"; do
        (
            words=$(nc -w "$patience" "$(host_of "$target")" "${target##*:}" -e /bin/sh -c : 2>&1 </dev/null)
            tell "$target" $? "$words" ''
        ) &
    done
    wait
}

if command -v python3 >/dev/null 2>&1; then
    with_python "$@"
elif command -v bash >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1; then
    with_bash "$@"
elif nc --help 2>&1 | grep -q 'BusyBox.*'; then
    with_busybox "$@"
else
    echo none
fi
