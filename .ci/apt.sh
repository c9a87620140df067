# shellcheck shell=bash
# How the scripts of this folder speak, and how they install Debian packages. Sourced, not run.

say() { printf '[setup] %s\n' "$*"; }

# install_packages NAME... : install through apt, or say what to do where that cannot be.
install_packages() {
    local become=() log
    if ! command -v apt-get >/dev/null 2>&1; then
        say "missing: $*. There is no apt-get here: install them by the means of this system, then run this again" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            say "missing: $*. Run this once as root, or: sudo apt-get install --no-install-recommends $*" >&2
            return 1
        fi
        become=(sudo -n)
    fi
    say "installing with apt: $*"
    log=$(mktemp)
    if ! apt_install "$@" >"$log" 2>&1; then
        # Package lists that are missing or old are the usual reason; ask for new ones only then.
        "${become[@]}" apt-get update >>"$log" 2>&1 || true
        if ! apt_install "$@" >>"$log" 2>&1; then
            tail -n 15 "$log" >&2
            rm -f "$log"
            return 1
        fi
    fi
    rm -f "$log"
}

apt_install() {
    "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}
