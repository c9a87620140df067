#!/bin/sh
# Makes one directory of a build a symlink into the local cache of its project (buildspec.md 11.5). Runs as root in the
# build's container, before the first command, so whatever a repository or an earlier build has laid out, it cannot
# reach more than this container.
#
#   /bin/sh localcache.sh CACHE FOLDER PATH SOURCES CHECKOUT...
#
# CACHE is where the cache is mounted, FOLDER the name in it of what belongs to PATH, SOURCES the directory above all
# sources, CHECKOUT each source's own, the primary first; a relative PATH starts there.
#
# Prints three lines: a word, the absolute path, and the directory in the cache or what went wrong. The words: hit and
# miss (linked; something was in the cache, or nothing), covered (it lies in a cached directory), file (it is no
# directory), refused (not for a build to cache), absent (no cache is mounted), failed.

cache=$1 folder=$2 path=$3 sources=$4
shift 4
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
set +a

# Prints the answer and ends.
answer() {
    printf '%s\n%s\n%s\n' "$1" "$full" "$2"
    exit 0
}

# Runs a program; what it complains of is the answer when it fails.
try() {
    error=$("$@" 2>&1) || answer failed "$error"
}

# Sets tidy: the absolute path $1 without empty parts, `.` and `..`; empty for the root.
tidy_up() {
    rest=$1/
    tidy=
    while [ -n "$rest" ]; do
        part=${rest%%/*}
        rest=${rest#*/}
        case $part in
            '' | .) ;;
            ..) tidy=${tidy%/*} ;;
            *) tidy=$tidy/$part ;;
        esac
    done
}

# Whether a build may cache the tidy path $1; the checkouts follow. Not: what the container stands on, what is ours, a
# whole source and what lies above it, and the repository's own .git, for a cache must not bring git hooks.
may_be_cached() {
    wanted=$1
    shift
    case $sources/ in "$wanted"/*) return 1 ;; esac
    case $wanted in
        "$sources"/*)
            for checkout; do
                case $checkout/ in "$wanted"/*) return 1 ;; esac
                case $wanted/ in "$checkout"/.git/*) return 1 ;; esac
            done
            ;;
        '' | /codebuild | /codebuild/* | /dev | /dev/* | /proc | /proc/* | /sys | /sys/* | /run | /run/*) return 1 ;;
        /bin | /bin/* | /sbin | /sbin/* | /lib | /lib/* | /lib32 | /lib64 | /libx32 | /boot | /etc | /etc/*) return 1 ;;
        /usr | /usr/bin | /usr/sbin | /usr/lib | /usr/lib32 | /usr/lib64 | /usr/libx32) return 1 ;;
        /tmp | /var | /var/run | /var/run/* | /var/lib | /var/lib/docker | /var/lib/docker/*) return 1 ;;
    esac
}

# Sets full: the tidy path $1 with the symlinks above its last part followed; fails where something above is no directory.
follow() {
    there=${1%/*}
    while [ -n "$there" ] && [ ! -d "$there" ]; do
        if [ -e "$there" ] || [ -L "$there" ]; then return 1; fi
        there=${there%/*}
    done
    real=$(cd -P "${there:-/}" 2>/dev/null && pwd -P) || return 1
    full=${real%/}${1#"$there"}
}

# Whether something is mounted at $1 or below: that must neither be moved nor removed.
is_mounted() {
    while read -r _ point _; do
        case $point in *\\*) point=$(printf '%b' "$point") ;; esac
        case $point/ in "$1"/*) return 0 ;; esac
    done </proc/mounts
    return 1
}

# Makes the directory $2 below $1 out of real directories; what an earlier build left in their way goes. Sets target.
make_target() {
    target=$1
    rest=$2/
    while [ -n "$rest" ]; do
        target=$target/${rest%%/*}
        rest=${rest#*/}
        if [ -L "$target" ] || [ ! -d "$target" ]; then
            try rm -rf "$target"
            try mkdir "$target"
        fi
    done
}

# Sets outcome: whether there is anything in the directory $1.
look_into() {
    outcome=miss
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -e "$entry" ] || [ -L "$entry" ]; then outcome=hit; fi
    done
}

# Copies into target what the directory $1 has and target does not: what is cached wins. Each entry is copied aside and
# then renamed, so that a copy which is cut short never passes for the whole.
merge() {
    top=$1
    aside=$cache/.aside
    try rm -rf "$aside"
    try mkdir "$aside"
    set -- ''
    while [ $# -gt 0 ]; do
        below=$1
        shift
        for entry in "$top$below"/* "$top$below"/.[!.]* "$top$below"/..?*; do
            [ -e "$entry" ] || [ -L "$entry" ] || continue
            name=$below/${entry##*/}
            if [ ! -e "$target$name" ] && [ ! -L "$target$name" ]; then
                try cp -RpP "$entry" "$aside/entry"
                try mv "$aside/entry" "$target$name"
            elif [ -d "$entry" ] && [ ! -L "$entry" ] && [ -d "$target$name" ] && [ ! -L "$target$name" ]; then
                set -- "$name" "$@"
            fi
        done
    done
    try rm -rf "$aside"
}

full=$path
case $path in *[[:cntrl:]]*) full='a path with control characters' && answer refused '' ;; esac
case $path in /*) ;; *) path=$1/$path ;; esac
[ -d "$cache" ] || answer absent ''
tidy_up "$path"
path=$tidy
full=$path
may_be_cached "$path" "$@" || answer refused ''
case $path in *[*?[\\]*) answer file '' ;; esac
follow "$path" || answer file ''
case $full in "$cache"/*) answer covered '' ;; esac
may_be_cached "$full" "$@" || answer refused ''
if [ -e "$full" ] && [ ! -d "$full" ]; then answer file ''; fi
if [ ! -L "$full" ] && is_mounted "$full"; then answer refused ''; fi

below=${path#"$sources"}
make_target "$cache" "$folder/${below#/}"
look_into "$target"
if [ -L "$full" ]; then
    [ "$(cd -P "$full" 2>/dev/null && pwd -P)" != "$target" ] || answer "$outcome" "$target"
elif [ -d "$full" ]; then
    merge "$full"
fi
try rm -rf "$full"
try mkdir -p "${full%/*}"
try ln -s "$target" "$full"
answer "$outcome" "$target"
