#!/bin/sh
# Leads into a running build: `buildspecd shell` runs this text in its container, first to look, then to enter.
#
#   sh -c TEXT buildspecd-shell look                                  as root: says where the commands of the build are
#   SHELL -c TEXT buildspecd-shell enter PROCESS STATE TERMINAL INTERACTIVE [COMMAND...]
#
# `look` prints three lines: the user id of the running command, its process with what is known of its variables
# (`pause`: all are in the process; `command`: those of the process and then env.sh; `none`: env.sh alone), and the
# build's shell. Nothing secret is an argument: the variables are read from /proc and from the scratch, in here.

bd_scratch=/codebuild/output/tmp
bd_control=/codebuild/agent
bd_user=/codebuild/user

# Sets bd_words: the command line of process $1, its words run together.
bd_read_words() {
    bd_words=
    { IFS= read -r bd_words || :; } <"/proc/$1/cmdline"
} 2>/dev/null

# Sets bd_process and bd_state.
bd_find_command() {
    bd_process=1
    bd_state=none
    for bd_place in /proc/[0-9]*; do
        bd_read_words "${bd_place#/proc/}"
        case $bd_words in
            *buildspecd-shell*) ;;
            *"$bd_scratch/script.sh")
                # The last of them: who only changed the user has a child that is the command.
                if [ "$bd_state" = none ] || [ "${bd_place#/proc/}" -gt "$bd_process" ]; then
                    bd_process=${bd_place#/proc/}
                    bd_state='command'
                fi
                ;;
        esac
    done
    bd_paused=
    { read -r bd_paused || :; } 2>/dev/null <"$bd_user/paused"
    case $bd_paused in
        '' | *[!0-9]*) return ;;
    esac
    bd_read_words "$bd_paused"
    case $bd_words in
        *codebuild-breakpoint*) bd_process=$bd_paused bd_state=pause ;;
    esac
}

bd_look() {
    bd_find_command
    bd_id=0
    while read -r bd_name bd_first bd_rest; do
        [ "$bd_name" != Uid: ] || bd_id=$bd_first
    done <"/proc/$bd_process/status"
    bd_shell=/bin/sh
    while IFS= read -r bd_line; do
        case $bd_line in
            "plan_shell='"*) bd_line=${bd_line#*\'} bd_shell=${bd_line%\'*} ;;
        esac
    done <"$bd_control/plan.sh"
    printf 'user %s\nprocess %s %s\nshell %s\n' "$bd_id" "$bd_process" "$bd_state" "${bd_shell:-/bin/sh}"
} 2>/dev/null

# ---------------------------------------------------------------------------------------------- entering

# Takes over the variables of process $1. A newline in a value travels as \001.
bd_take_variables() {
    bd_lines=$(tr '\000\n' '\n\001' <"/proc/$1/environ")
    set -f
    IFS=$bd_newline
    for bd_line in $bd_lines; do
        bd_name=${bd_line%%=*}
        case $bd_name in
            '' | [0-9]* | *[!A-Za-z0-9_]*) continue ;;
            _ | PWD | OLDPWD | SHLVL | UID | EUID | PPID | IFS | SHELLOPTS | BASHOPTS | bd_*) continue ;;
            TERM) [ -z "$bd_terminal" ] || continue ;;
        esac
        bd_value=
        bd_rest=${bd_line#*=}
        while :; do
            case $bd_rest in
                *"$bd_one"*) ;;
                *) break ;;
            esac
            bd_value=$bd_value${bd_rest%%"$bd_one"*}$bd_newline
            bd_rest=${bd_rest#*"$bd_one"}
        done
        command export "$bd_name=$bd_value$bd_rest"
    done
    unset IFS
    set +f
}

# Goes where the commands are: to the directory of a paused one, else to where the last one left off.
bd_go() {
    if [ "$bd_state" = pause ]; then
        cd -P "/proc/$bd_process/cwd" && return
    fi
    bd_directory=
    bd_between=
    while IFS= read -r bd_line; do
        bd_directory=$bd_directory$bd_between$bd_line
        bd_between=$bd_newline
    done <"$bd_scratch/directory"
    cd "${bd_directory:-/}" || cd /
} 2>/dev/null

# Sets bd_shell: the shell to work in. The build's own where that was chosen, bash where there is one, else sh.
bd_choose_shell() {
    bd_shell=$1
    if [ "$1" = /bin/sh ]; then
        bd_shell=$(command -v bash) || bd_shell=/bin/sh
    fi
}

if [ "$1" = look ]; then
    bd_look
    exit 0
fi
bd_newline='
'
bd_one=$(printf '\001')
bd_process=$2
bd_state=$3
bd_terminal=$4
bd_choose_shell "$5"
shift 5
[ "$bd_state" = none ] || bd_take_variables "$bd_process"
if [ "$bd_state" != pause ] && [ -r "$bd_scratch/env.sh" ]; then
    # shellcheck source=/dev/null
    . "$bd_scratch/env.sh"
fi
bd_go
if [ $# != 0 ]; then
    exec "$@"
fi
exec "$bd_shell"
