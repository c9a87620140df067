#!/bin/sh
# Runs one build inside its container, as PID 1, by itself: phases, commands, finally, on-failure.
#
#   /bin/sh driver.sh [SCRATCH [SECRETS]]
#
# It talks to the daemon through the files beside it, which docs/JOURNAL.md describes. It runs under dash,
# busybox ash and bash. Per command it forks once, for the command itself: everything else is builtin. Its names begin
# with bd_, those of the plan with plan_, so that they do not meet the image's or the user's variables. The user's
# variables are never set in this shell, only in the process that becomes the shell of a command.
#
# File descriptors: 1 and 6 the log (FIFO), 2 driver.log, 4 the FIFO go, 5 the log's reading end
# (held, never read), 7 the journal.
#
# The plan's variables come from plan.sh, bd_value from bd_get; what a subshell changes is meant to stay there.
# shellcheck disable=SC2154,SC2030,SC2031

bd_control=${0%/*}
bd_scratch=${1:-/codebuild/output/tmp}
bd_secrets=${2:-/codebuild/agent-secrets}
bd_tab='	'
bd_newline='
'
bd_stopping=
bd_succeeding=1
bd_phase=-
bd_user=
bd_home=
bd_launch=
bd_pattern=
bd_opening=
bd_closing=
bd_foundation=
bd_day=

# ---------------------------------------------------------------------------------------------- time and lines

# Sets bd_time: microseconds since the epoch. The daemon gave the base; a fork for date(1) would cost a millisecond.
bd_read_clock() {
    read -r bd_uptime bd_rest </proc/uptime
    # The 1 in front keeps ".08" from being read as an octal number.
    bd_time=$((plan_clock_base + ${bd_uptime%.*} * 1000000 + (1${bd_uptime#*.} - 100) * 10000))
}

# Sets bd_date (YYYY/MM/DD) for the day number $1 since 1970-01-01 (proleptic Gregorian, eras of 400 years).
bd_set_date() {
    bd_day=$1
    bd_z=$((bd_day + 719468))
    bd_era=$((bd_z / 146097))
    bd_doe=$((bd_z - bd_era * 146097))
    bd_yoe=$(((bd_doe - bd_doe / 1460 + bd_doe / 36524 - bd_doe / 146096) / 365))
    bd_doy=$((bd_doe - (365 * bd_yoe + bd_yoe / 4 - bd_yoe / 100)))
    bd_mp=$(((5 * bd_doy + 2) / 153))
    bd_d=$((bd_doy - (153 * bd_mp + 2) / 5 + 1))
    bd_m=$((bd_mp < 10 ? bd_mp + 3 : bd_mp - 9))
    bd_y=$((bd_yoe + bd_era * 400 + (bd_m <= 2)))
    [ "$bd_m" -ge 10 ] || bd_m=0$bd_m
    [ "$bd_d" -ge 10 ] || bd_d=0$bd_d
    bd_date=$bd_y/$bd_m/$bd_d
}

# Prints "YYYY/MM/DD HH:MM:SS.ffffff " and $1, for bd_time.
bd_print_line() {
    bd_seconds=$((bd_time / 1000000))
    [ "$bd_day" = $((bd_seconds / 86400)) ] || bd_set_date $((bd_seconds / 86400))
    printf '[Container] %s %02d:%02d:%02d.%06d %s\n' "$bd_date" \
        $((bd_seconds / 3600 % 24)) $((bd_seconds / 60 % 60)) $((bd_seconds % 60)) $((bd_time % 1000000)) "$1"
}

# One of CodeBuild's own log lines.
bd_say() {
    bd_keep_pump
    bd_read_clock
    bd_print_line "$1"
}

# One event of the journal: the fields are the arguments.
bd_note() {
    bd_read_clock
    bd_line=$bd_time
    for bd_field; do
        bd_line=$bd_line$bd_tab$bd_field
    done
    printf '%s\n' "$bd_line" >&7
}

# ---------------------------------------------------------------------------------------------- words and tools

# Sets bd_value to the plan's variable plan_$1. The name is ours; no data is ever evaluated.
bd_get() {
    eval "bd_value=\$plan_$1"
}

# Sets bd_quoted: $1 as one single-quoted shell word.
bd_quote() {
    bd_quoted=\'
    bd_rest=$1
    while :; do
        case $bd_rest in
            *\'*) ;;
            *) break ;;
        esac
        bd_quoted="$bd_quoted${bd_rest%%\'*}'\\''"
        bd_rest=${bd_rest#*\'}
    done
    bd_quoted="$bd_quoted$bd_rest'"
}

# Sets bd_found: the absolute path of program $1, or empty. The PATH is the image's own: a build may replace its PATH
# with anything, but not this one.
bd_find() {
    bd_found=
    case $1 in
        /*)
            if [ -f "$1" ] && [ -x "$1" ]; then bd_found=$1; fi
            return
            ;;
        */* | '') return ;;
    esac
    bd_rest=$PATH:
    while [ -n "$bd_rest" ]; do
        bd_place=${bd_rest%%:*}/$1
        bd_rest=${bd_rest#*:}
        if [ -f "$bd_place" ] && [ -x "$bd_place" ]; then
            bd_found=$bd_place
            return
        fi
    done
}

# Runs tool $1 with the other arguments; fails when the image does not have it.
bd_tool() {
    bd_find "$1"
    [ -n "$bd_found" ] || return 127
    shift
    "$bd_found" "$@" >&2
}

# ---------------------------------------------------------------------------------------------- the log's pump

# Sets up the log: a FIFO that `cat` empties into `output`; where the image has no cat, the file itself.
bd_open_log() {
    bd_find cat
    bd_cat=$bd_found
    bd_pump=
    if [ -z "$bd_cat" ]; then
        exec 6>>"$bd_control/output" 5</dev/null
        exec >&6
        return
    fi
    # Opened both ways for a moment: one end alone would wait for the other.
    exec 6<>"$bd_control/pipe"
    exec 5<"$bd_control/pipe"
    exec >"$bd_control/pipe"
    exec 6>&1
    bd_start_pump
}

# Starts the pump and its supervisor, which holds no writing end, is deaf to the signals that builds send around, and
# starts `cat` again unless it ended by itself: at the end of the last writer.
bd_start_pump() {
    (
        trap '' HUP INT TERM USR1 USR2
        exec 4<&- 7>&- >/dev/null 6>&-
        until "$bd_cat" <&5 >>"$bd_control/output"; do :; done
    ) &
    bd_pump=$!
}

# Starts the pump again when somebody killed it and its supervisor.
bd_keep_pump() {
    [ -z "$bd_pump" ] || kill -0 "$bd_pump" || bd_start_pump
}

# The same, of a pump that a command may have killed this moment: it is alive to `kill -0` while it dies, and after that
# until somebody waits for it. The kernel tells by state, by flag 4 (exiting) and by signal 256 (SIGKILL, pending).
bd_keep_dying_pump() {
    [ -n "$bd_pump" ] || return
    # Who sleeps in wait does not die; that is read in a tenth of the time, and nearly always so.
    bd_stat=
    read -r bd_stat <"/proc/$bd_pump/wchan"
    case $bd_stat in *wait*) return ;; esac
    if read -r bd_stat <"/proc/$bd_pump/stat"; then
        # shellcheck disable=SC2086  # its fields are split
        set -- ${bd_stat##*) }
        case $1 in
            Z | X) ;;
            *) [ $((($7 & 4) | (${29} & 256))) != 0 ] || return 0 ;;
        esac
    fi
    bd_start_pump
}

# Kills every process of this container but the driver and its pump, until none is left. Only PID 1 may do that:
# anybody else shares the process table with strangers.
bd_sweep() {
    [ "$$" = 1 ] || return
    bd_pass=0
    while [ "$bd_pass" -lt 100 ]; do
        bd_pass=$((bd_pass + 1))
        bd_alive=
        for bd_process in /proc/[0-9]*; do
            bd_kill_stranger "${bd_process#/proc/}"
        done
        [ -n "$bd_alive" ] || return
    done
}

# Kills process $1 unless it is ours or dead already; sets bd_alive when there was something to kill.
bd_kill_stranger() {
    [ "$1" != 1 ] && [ "$1" != "$bd_pump" ] || return
    read -r bd_stat <"/proc/$1/stat" || return
    bd_stat=${bd_stat##*) }
    bd_state=${bd_stat%% *}
    bd_parent=${bd_stat#* }
    bd_parent=${bd_parent%% *}
    case $bd_state in Z | X) return ;; esac
    [ "$bd_parent" != "$bd_pump" ] || return
    bd_alive=1
    kill -9 "$1"
}

# Returns when every byte that was written to the log is in `output`.
bd_close_log() {
    bd_keep_pump
    exec >/dev/null 6>&-
    bd_sweep
    # A signal to us interrupts wait; the pump is gone only when nobody answers to its number.
    while [ -n "$bd_pump" ] && kill -0 "$bd_pump"; do
        wait "$bd_pump"
    done
}

# ---------------------------------------------------------------------------------------------- one command

# Sets bd_directory: where the last command left off.
bd_read_directory() {
    bd_directory=
    bd_between=
    while IFS= read -r bd_part_of_it; do
        bd_directory=$bd_directory$bd_between$bd_part_of_it
        bd_between=$bd_newline
    done <"$bd_scratch/directory"
    [ -n "$bd_directory" ] || bd_directory=$plan_source
}

# Begins from nothing: no saved variable but those of the runtimes, the source directory.
bd_forget_state() {
    printf '%sexport CODEBUILD_BUILD_SUCCEEDING=%s\n' "$bd_foundation" "$bd_succeeding" >"$bd_scratch/env.sh"
    printf '%s\n' "$plan_source" >"$bd_scratch/directory"
}

# Writes script.sh with the user's text $1 on line 4 and our ending $2 (buildspec.md 5.3). The empty line catches a text
# that ends in a backslash.
bd_write_script() {
    bd_quote "$bd_directory"
    printf '%s\n' "cd $bd_quoted" 'set -a' ". $bd_scratch_quoted/env.sh$bd_opening" "$1" '' "$2" >"$bd_scratch/script.sh"
}

# Runs script.sh in the build's shell as the phase's user; returns its status. The one fork of a command.
bd_execute() {
    (
        case $bd_launch in
            setpriv) set -- "$bd_setpriv" --reuid "$bd_uid" --regid "$bd_gid" --init-groups "$bd_shell" ;;
            su) set -- "$bd_su" -m -s "$bd_shell" "$bd_user" ;;
            *) set -- "$bd_shell" ;;
        esac
        set -- "$@" "$bd_scratch/script.sh"
        environment
        export CODEBUILD_BUILD_SUCCEEDING="$bd_succeeding" CODEBUILD_LAST_EXIT=0
        if [ -n "$bd_launch" ]; then export HOME="$bd_home"; fi
        exec 2>&6 </dev/null
        exec 4<&- 5<&- 6>&- 7>&-
        exec "$@"
    )
}

# Runs command $1 of the list bd_list, number bd_index; sets bd_status, and bd_failed when it failed.
bd_run_command() {
    bd_say "Running command $1"
    [ -z "$bd_pattern" ] || bd_mark_output 'Running command'
    bd_note command "$bd_phase" "$bd_list" "$bd_index"
    [ -z "$plan_isolated" ] || [ "$bd_phase" = DOWNLOAD_SOURCE ] || bd_forget_state
    bd_read_directory
    bd_write_script "$1" "CODEBUILD_LAST_EXIT=\$?$bd_closing$bd_newline$bd_ending"
    bd_execute
    bd_status=$?
    bd_keep_dying_pump
    printf '\n'
    bd_note 'exit' "$bd_phase" "$bd_list" "$bd_index" "$bd_status"
    if [ "$bd_status" -ne 0 ] && [ -z "$bd_stopping" ]; then
        bd_failed=$bd_index
        bd_message="Error while executing command: $1. Reason: exit status $bd_status"
        bd_say "Command did not exit successfully $1 exit status $bd_status"
    fi
}

# Runs the list $1 (commands or finally) of the phase up to the first command that fails: bd_failed is its number, or 0.
bd_run_list() {
    bd_list=$1
    bd_index=0
    bd_failed=0
    bd_get "${bd_phase}_$bd_list"
    bd_count=$bd_value
    while [ "$bd_index" -lt "$bd_count" ] && [ "$bd_failed" = 0 ] && [ -z "$bd_stopping" ]; do
        bd_index=$((bd_index + 1))
        [ "$bd_phase" != DOWNLOAD_SOURCE ] || bd_lend_version
        bd_get "${bd_phase}_${bd_list}_$bd_index"
        bd_run_command "$bd_value"
    done
}

# ---------------------------------------------------------------------------------------------- runtimes

# Has the next command see VERSION as the plan says, and put back afterwards what the build has under that name.
bd_lend_version() {
    bd_opening=
    bd_closing=
    bd_get "${bd_phase}_version_$bd_index"
    [ -n "$bd_value" ] || return 0
    bd_quote "$bd_value"
    bd_opening="; bd_kept=\${VERSION+x\$VERSION}; VERSION=$bd_quoted"
    # Its expansions are meant for the script.
    # shellcheck disable=SC2016
    bd_closing='; if [ -n "$bd_kept" ]; then VERSION=${bd_kept#x}; else unset VERSION; fi; unset bd_kept'
}

# Switches to the runtimes that were chosen, by commands of the image, as root. They share their state with each other
# and leave their variables, but not their directory, to the build; that goes for isolated commands, too.
# Fails when one of them did, or the build is stopped, with the reason in bd_outcome.
bd_set_up_runtimes() {
    [ "$plan_DOWNLOAD_SOURCE_commands" -gt 0 ] || return 0
    bd_phase=DOWNLOAD_SOURCE
    bd_run_list commands
    bd_phase=-
    bd_opening=
    bd_closing=
    bd_outcome=stopped
    [ -z "$bd_stopping" ] || return 1
    if [ "$bd_failed" != 0 ]; then
        bd_note problem runtime "$bd_failed" "$bd_status"
        bd_outcome=refused
        return 1
    fi
    # Every saved state sets PWD, and this one is not taken up where it was left.
    bd_quote "$plan_source"
    printf 'export PWD=%s\n' "$bd_quoted" >>"$bd_scratch/env.sh"
    if [ -n "$plan_isolated" ] && bd_tool mv "$bd_scratch/env.sh" "$bd_scratch/runtimes.sh"; then
        bd_foundation=". $bd_scratch_quoted/runtimes.sh$bd_newline"
        bd_forget_state
    fi
    printf '%s\n' "$plan_source" >"$bd_scratch/directory"
    bd_say "Moving to directory $plan_source"
    # The daemon speaks next: it waits until this very line is in the log.
    bd_note moved "$bd_time"
}

# ---------------------------------------------------------------------------------------------- retries

# Waits until the line that was said last, with text $1, has gone through the pump; then notes where `output` ends.
bd_mark_output() {
    bd_mark=$(bd_print_line "$1")
    bd_tries=0
    until bd_tool grep -qF -e "$bd_mark" "$bd_control/output" || [ "$bd_tries" -ge 100 ]; do
        bd_tries=$((bd_tries + 1))
    done
    bd_find wc
    bd_offset=0
    [ -z "$bd_found" ] || bd_offset=$("$bd_found" -c <"$bd_control/output")
}

# Whether the failure just seen fits the phase's pattern: in its message, or in the output of the failed command.
bd_fits_pattern() {
    [ -n "$bd_pattern" ] || return 0
    bd_find tail
    bd_tail=$bd_found
    bd_find grep
    bd_grep=$bd_found
    if [ -z "$bd_tail" ] || [ -z "$bd_grep" ]; then
        bd_say 'Cannot match the pattern of on-failure: the image has no grep or tail'
        return 1
    fi
    bd_from=$bd_offset
    bd_mark_output 'Command did not exit successfully'
    bd_dialect=-E
    if printf 'x' | "$bd_grep" -qP x; then bd_dialect=-P; fi
    { printf '%s\n' "$bd_message" && "$bd_tail" -c "+$((bd_from + 1))" "$bd_control/output"; } |
        LC_ALL=C "$bd_grep" -q "$bd_dialect" -e "$bd_pattern"
}

# Runs the phase's commands, again as often as on-failure allows. Sets bd_failed.
bd_run_with_retries() {
    bd_attempt=0
    bd_run_list commands
    while [ "$bd_failed" != 0 ] && [ "$bd_action" = RETRY ] && [ "$bd_attempt" -lt "$bd_retries" ] &&
        [ -z "$bd_stopping" ] && bd_fits_pattern; do
        bd_attempt=$((bd_attempt + 1))
        bd_note retry "$bd_phase" "$bd_attempt" "$bd_retries"
        bd_say "Retrying phase $bd_phase: attempt $bd_attempt of $bd_retries"
        bd_run_list commands
    done
}

# ---------------------------------------------------------------------------------------------- users

# Sets bd_uid, bd_gid and bd_home of user $1; fails when /etc/passwd does not know it.
bd_look_up() {
    while IFS=: read -r bd_name bd_rest bd_uid bd_gid bd_rest bd_home bd_rest; do
        [ "$bd_name" != "$1" ] || return 0
    done </etc/passwd
    return 1
}

# Chooses how a process becomes user bd_user: util-linux's setpriv, which changes nothing else, or su.
bd_choose_launch() {
    bd_find setpriv
    bd_setpriv=$bd_found
    bd_launch=setpriv
    [ -z "$bd_setpriv" ] ||
        ! "$bd_setpriv" --reuid "$bd_uid" --regid "$bd_gid" --init-groups "$bd_shell" -c : >&2 || return 0
    bd_find su
    bd_su=$bd_found
    bd_launch=su
    [ -n "$bd_su" ]
}

# Makes $1 (empty: root) the user of the phase, and the owner of what it has to write.
# Fails with the reason in bd_reason and bd_message.
bd_become() {
    [ "$1" != "$bd_user" ] || return 0
    bd_user=: # nobody, unless it works
    bd_launch=
    bd_home=$(environment && printf '%s' "$HOME")
    bd_uid=0
    bd_gid=0
    if [ -n "$1" ] && ! bd_look_up "$1"; then
        bd_reason=no-user
        bd_message="Error while switching to user: $1. Reason: no such user in the image"
        return 1
    fi
    if [ -n "$1" ] && ! bd_choose_launch; then
        bd_launch=
        bd_reason=no-switch
        bd_message="Error while switching to user: $1. Reason: the image has neither setpriv nor su"
        return 1
    fi
    bd_user=$1
    bd_tool chown -hR "$bd_uid:$bd_gid" "$plan_workspace"
    [ -z "$plan_cached" ] || bd_tool chown -hR "$bd_uid:$bd_gid" "$plan_cached"
    bd_tool chown "$bd_uid:$bd_gid" "$bd_scratch/env.sh" "$bd_scratch/directory"
    bd_quote "$bd_home"
    printf 'export HOME=%s\n' "$bd_quoted" >>"$bd_scratch/env.sh"
}

# ---------------------------------------------------------------------------------------------- phases

# Sets bd_action, bd_retries and bd_pattern of the phase. No pattern: any failure.
bd_read_on_failure() {
    bd_get "${bd_phase}_action"
    bd_action=$bd_value
    bd_get "${bd_phase}_retries"
    bd_retries=$bd_value
    bd_get "${bd_phase}_pattern"
    bd_pattern=$bd_value
}

# Runs commands and finally of the phase; notes how it ended. Sets bd_state to SUCCEEDED or FAILED.
# The first failure of the two lists is the one that counts.
bd_run_commands() {
    bd_get "${bd_phase}_user"
    if ! bd_become "$bd_value"; then
        bd_state=FAILED
        bd_note phase-end "$bd_phase" FAILED "$bd_reason"
        return
    fi
    bd_run_with_retries
    bd_first_failed=$bd_failed
    bd_first_list=commands
    bd_first_status=$bd_status
    bd_first_message=$bd_message
    bd_pattern=
    bd_run_list finally
    if [ "$bd_first_failed" = 0 ] && [ "$bd_failed" != 0 ]; then
        bd_first_failed=$bd_failed
        bd_first_list=finally
        bd_first_status=$bd_status
        bd_first_message=$bd_message
    fi
    [ -z "$bd_stopping" ] || return
    bd_state=SUCCEEDED
    if [ "$bd_first_failed" = 0 ]; then
        bd_message= # a retry may have mended what it told
        bd_note phase-end "$bd_phase" SUCCEEDED
        return
    fi
    bd_state=FAILED
    bd_message=$bd_first_message
    bd_note phase-end "$bd_phase" FAILED "$bd_first_list" "$bd_first_failed" "$bd_first_status"
}

# Runs the phase whole, unless it is stopped. The daemon writes POST_BUILD's last two lines, after saving the cache.
bd_run_phase() {
    bd_status=0
    bd_message=
    bd_say "Entering phase $bd_phase"
    bd_note phase "$bd_phase"
    printf 'export CODEBUILD_BUILD_SUCCEEDING=%s\n' "$bd_succeeding" >>"$bd_scratch/env.sh"
    bd_read_on_failure
    bd_run_commands
    [ -z "$bd_stopping" ] || return
    bd_code=
    if [ "$bd_state" = FAILED ]; then
        bd_succeeding=0
        bd_code=COMMAND_EXECUTION_ERROR
    fi
    [ "$bd_phase" != POST_BUILD ] || return
    bd_say "Phase complete: $bd_phase State: $bd_state"
    bd_say "Phase context status code: $bd_code Message: $bd_message"
}

# Whether the failed phase ends the build (buildspec.md 4.2, 4.5).
bd_ends_build() {
    case $bd_action/$bd_phase in
        ABORT/*) return 0 ;;
        CONTINUE/*) return 1 ;;
        */INSTALL | */PRE_BUILD) return 0 ;;
        *) return 1 ;;
    esac
}

# Runs the four phases in their order; sets bd_outcome.
bd_run_phases() {
    for bd_phase in INSTALL PRE_BUILD BUILD POST_BUILD; do
        bd_run_phase
        if [ -n "$bd_stopping" ]; then
            bd_outcome=stopped
            return
        fi
        if [ "$bd_state" = FAILED ] && bd_ends_build; then
            bd_outcome=aborted
            return
        fi
    done
    bd_outcome=completed
}

# ---------------------------------------------------------------------------------------------- expansions

# Evaluates the list $1 (before or after), each in a shell of its own, with the saved variables, in the source directory.
bd_expand() {
    bd_get "$1"
    bd_count=$bd_value
    bd_index=0
    bd_directory=$plan_source
    while [ "$bd_index" -lt "$bd_count" ] && [ -z "$bd_stopping" ]; do
        bd_index=$((bd_index + 1))
        bd_get "$1_$bd_index"
        bd_write_script "$bd_value" ''
        bd_keep_pump
        bd_execute >"$bd_control/$1.$bd_index"
        bd_status=$?
        [ "$bd_status" != 95 ] || bd_status="unset"
        printf '\n%s\n' "$bd_status" >>"$bd_control/$1.$bd_index"
    done
}

# ---------------------------------------------------------------------------------------------- beginning and end

# Waits until the daemon says word $1, or until the build is stopped. The FIFO is open both ways: to open its reading end
# alone would block, and no shell lets a signal interrupt that.
bd_await() {
    bd_word=
    until [ "$bd_word" = "$1" ] || [ -n "$bd_stopping" ]; do
        read -r bd_word <&4
        # The signal alone would be lost if it came between the question above and the read.
        [ "$bd_word" != stop ] || bd_stopping=1
    done
}

# What can be done before the build is known.
bd_set_up() {
    exec 2>>"$bd_control/driver.log" 7>>"$bd_control/journal"
    trap 'bd_stopping=1' USR1
    # Not ignored, which the commands would inherit; but no reason to end either: see docs/JOURNAL.md 2.9.
    trap : HUP INT TERM
    umask 022
    bd_quote "$bd_scratch"
    bd_scratch_quoted=$bd_quoted
    export HOME=/root
    PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}:/codebuild/user/bin
    export PATH
    bd_open_log
    exec 4<>"$bd_control/go"
    # Our ending of every script: its expansions are meant for the script.
    # shellcheck disable=SC2016
    bd_ending='export -p >|'$bd_scratch_quoted'/env.sh
pwd >|'$bd_scratch_quoted'/directory
exit "$CODEBUILD_LAST_EXIT"'
}

# Reads what to run and the variables, and takes the latter off the disk. The plan is the daemon's: nobody else has
# been in this container yet.
bd_read_plan() {
    # shellcheck source=/dev/null
    . "$bd_control/plan.sh"
    environment() { :; }
    if [ -f "$bd_secrets/environment" ]; then
        # shellcheck source=/dev/null
        . "$bd_secrets/environment"
        # printf, because a redirection that fails on a special builtin such as : would end this shell.
        bd_tool rm -f "$bd_secrets/environment" || printf '' >"$bd_secrets/environment"
    fi
    if [ -n "$GOPATH" ] && [ -n "$plan_gopath" ]; then export GOPATH="$GOPATH:$plan_gopath"; fi
    bd_note begun
    bd_forget_state
    cd "$plan_source" || cd /
}

# Makes the checkouts root's, where the daemon is somebody else: git refuses to work in another user's tree.
bd_claim_checkouts() {
    [ -n "$plan_owner" ] || return
    bd_index=0
    while [ "$bd_index" -lt "$plan_checkouts" ]; do
        bd_index=$((bd_index + 1))
        bd_get "checkouts_$bd_index"
        bd_tool chown -h 0:0 "$bd_value"
        [ ! -e "$bd_value/.git" ] || bd_tool chown -h 0:0 "$bd_value/.git"
    done
}

# Everything up to INSTALL; fails when the build cannot go on, with the reason in bd_outcome.
bd_prepare() {
    bd_claim_checkouts
    bd_find "$plan_shell"
    bd_shell=$bd_found
    if [ -z "$bd_shell" ]; then
        bd_note problem no-shell
        bd_outcome=refused
        return 1
    fi
    bd_configure_git
    bd_set_up_runtimes || return 1
    bd_expand before
    bd_note prepared
    if [ -n "$plan_hold" ]; then
        bd_await resume
        [ -n "$bd_stopping" ] || bd_note resumed
    fi
    exec 4<&-
    bd_outcome=stopped
    [ -z "$bd_stopping" ]
}

# Has git, whoever runs it, read the configuration that leads to the logins of the sources: of all its files the one of
# the system is read first, so that the image's and the user's own settings stay stronger. An image without git may
# still install it.
bd_configure_git() {
    [ -n "$plan_gitconfig" ] || return
    bd_tool git config --system --add include.path "$plan_gitconfig" ||
        printf '[include]\n\tpath = %s\n' "$plan_gitconfig" >>/etc/gitconfig
}

# Gives the files back, so that a daemon that is not root can read and remove them.
bd_give_back() {
    [ -n "$plan_owner" ] || return
    bd_tool chown -hR "$plan_owner" "$plan_workspace" "$bd_control"
}

# Writes how it ended. One write; the last line tells a whole file from a torn one.
bd_write_result() {
    printf 'outcome %s\nphase %s\nsucceeding %s\nend\n' "$bd_outcome" "$bd_phase" "$bd_succeeding" \
        >"$bd_control/result"
}

bd_main() {
    bd_set_up
    bd_await begin
    bd_outcome=stopped
    if [ -z "$bd_stopping" ]; then
        bd_read_plan
        if bd_prepare; then bd_run_phases; fi
        if [ "$bd_outcome" = completed ]; then
            bd_expand after
            bd_note expanded
        fi
    fi
    bd_close_log
    bd_give_back
    [ -z "$plan_clock_base" ] || bd_note end "$bd_outcome" "$bd_phase"
    bd_write_result
}

bd_main
