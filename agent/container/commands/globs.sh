#!/bin/sh
# CodeBuild's globs in the shell: what the helper commands of a build share. They read it; it also runs by itself:
#
#   /bin/sh globs.sh PATTERN START LABEL PATH...      prints those of the paths that fit (for `find -exec`)
#
# `*` stays within one component and takes dot files, `**` is any number of components, `?` and `[...]` are the shell's
# own, braces are literal (buildspec.md 10.2; agent/kit/globs.py does the same on the host). Symlinks to directories are
# not entered. It runs under dash, busybox ash and bash, with `find` and `sort` where the image has them, else alone.
#
# A list of paths is text, one a line. A newline in a name becomes VT and \001, a VT becomes VT and \002: so one path is
# one line, and the order of the bytes stays what it was.
#
# Whoever reads this file says in cb_globs where it lies.
# shellcheck disable=SC2154,SC2254  # cb_globs; patterns are meant to be patterns

LC_ALL=C
cb_newline='
'
cb_vt=$(printf '\013')
cb_one=$(printf '\001')
cb_two=$(printf '\002')
cb_torn="$cb_vt!" # stands in a list for a directory that could not be read

# ---------------------------------------------------------------------------------------------- words

# Sets cb_text: $1 with every $2 replaced by $3.
cb_replace() {
    cb_text=
    cb_rest=$1
    while :; do
        case $cb_rest in
            *"$2"*) ;;
            *) break ;;
        esac
        cb_text=$cb_text${cb_rest%%"$2"*}$3
        cb_rest=${cb_rest#*"$2"}
    done
    cb_text=$cb_text$cb_rest
}

# Sets cb_text: path $1 as one line.
cb_escape() {
    cb_text=$1
    case $1 in
        *"$cb_vt"* | *"$cb_newline"*)
            cb_replace "$1" "$cb_vt" "$cb_vt$cb_two"
            cb_replace "$cb_text" "$cb_newline" "$cb_vt$cb_one"
            ;;
    esac
}

# Sets cb_text: the path, or list of paths, that cb_escape made $1 of.
cb_unescape() {
    cb_text=$1
    case $1 in
        *"$cb_vt"*)
            cb_replace "$1" "$cb_vt$cb_one" "$cb_newline"
            cb_replace "$cb_text" "$cb_vt$cb_two" "$cb_vt"
            ;;
    esac
}

# Whether component $1 is more than a name.
cb_is_wild() {
    case $1 in
        *[*?[\\]*) return 0 ;;
        *) return 1 ;;
    esac
}

# Sets cb_tidy: pattern $1 without empty and `.` components; `..` goes up, by the text alone. Fails for a pattern that
# can match no file: an empty one, and one that asks for a directory.
cb_tidy_up() {
    cb_tidy=
    cb_lead=
    cb_last=
    cb_rest=$1/
    case $1 in
        '' | */) return 1 ;;
        /*) cb_lead=/ ;;
    esac
    while [ -n "$cb_rest" ]; do
        cb_last=${cb_rest%%/*}
        cb_rest=${cb_rest#*/}
        case $cb_last in
            '' | .) ;;
            ..) cb_go_up ;;
            '**') case $cb_tidy in */'**' | '**') ;; *) cb_tidy=$cb_tidy${cb_tidy:+/}$cb_last ;; esac ;;
            *) cb_tidy=$cb_tidy${cb_tidy:+/}$cb_last ;;
        esac
    done
    [ -n "$cb_tidy" ] || return 1
    cb_tidy=$cb_lead$cb_tidy
}

# Takes the last component off cb_tidy; above the root there is nothing, and what `**` stands for is not known.
cb_go_up() {
    case $cb_tidy in
        '') [ -n "$cb_lead" ] || cb_tidy=.. ;;
        .. | */.. | '**' | */'**') cb_tidy=$cb_tidy/.. ;;
        */*) cb_tidy=${cb_tidy%/*} ;;
        *) cb_tidy= ;;
    esac
}

# Sets cb_text: pattern $1 with `[!...]` for `[^...]`, which means something else to some shells.
cb_negate() {
    cb_text=
    cb_rest=$1
    while :; do
        case $cb_rest in
            *'['*) ;;
            *) break ;;
        esac
        cb_before=${cb_rest%%'['*}
        cb_rest=${cb_rest#*'['}
        cb_text=$cb_text${cb_before}[
        case $cb_before in *\\) continue ;; esac
        case $cb_rest in
            '^'*) cb_text=$cb_text! cb_rest=${cb_rest#?} ;;
            '!'*) cb_text=$cb_text! cb_rest=${cb_rest#?} ;;
        esac
        # The first sign stands for itself, also a bracket.
        case $cb_rest in
            ?*']'*)
                cb_before=${cb_rest#?}
                cb_before=${cb_rest%"$cb_before"}${cb_before%%']'*}
                cb_text=$cb_text$cb_before]
                cb_rest=${cb_rest#"$cb_before"]}
                ;;
        esac
    done
    cb_text=$cb_text$cb_rest
}

# Splits cb_tidy before its first component with a wildcard: cb_base (ends in a slash, or is empty) and cb_pattern
# (empty where there is no wildcard at all).
cb_split() {
    cb_base=
    cb_pattern=$cb_tidy
    while [ -n "$cb_pattern" ]; do
        cb_is_wild "${cb_pattern%%/*}" && return
        case $cb_pattern in
            */*) cb_base=$cb_base${cb_pattern%%/*}/ cb_pattern=${cb_pattern#*/} ;;
            *) cb_base=$cb_base$cb_pattern cb_pattern= ;;
        esac
    done
}

# ---------------------------------------------------------------------------------------------- one pattern

# Takes pattern $1 apart at its `**`. A piece has a slash before each component: cb_head, cb_middle (with `**` in it)
# and cb_tail, with the number of components of head and tail; cb_deep is empty where there is no `**`. cb_loose is one
# shell pattern that all that fits must match: what it turns away, and that is nearly everything, costs nothing more.
cb_compile() {
    cb_deep=
    cb_head=
    cb_middle=
    cb_tail=
    cb_heads=0
    cb_tails=0
    cb_levels=0
    cb_loose=$1
    cb_rest=$1/
    while [ -n "$cb_rest" ]; do
        cb_word=${cb_rest%%/*}
        cb_rest=${cb_rest#*/}
        cb_levels=$((cb_levels + 1))
        if [ "$cb_word" = '**' ]; then
            cb_middle=$cb_middle${cb_deep:+$cb_tail/**}
            cb_deep=1
            cb_tail=
            cb_tails=0
        elif [ -n "$cb_deep" ]; then
            cb_tail=$cb_tail/$cb_word
            cb_tails=$((cb_tails + 1))
        else
            cb_head=$cb_head/$cb_word
            cb_heads=$((cb_heads + 1))
        fi
    done
    [ -n "$cb_deep" ] || return 0
    if [ "$cb_tails" = 0 ]; then
        cb_tail='/*'
        cb_tails=1
    fi
    cb_loose="${cb_head#/}${cb_head:+/}*${cb_tail#/}"
}

# Whether the relative path $1 fits the compiled pattern. A piece of a path is compared with a piece of the pattern that
# has as many slashes: so no wildcard can have taken a slash.
cb_fits() {
    case $1 in
        $cb_loose) ;;
        *) return 1 ;;
    esac
    cb_left=/$1
    if [ -z "$cb_deep" ]; then
        cb_cut_front "$cb_heads" || return 1
        [ -z "$cb_left" ] || return 1
        case $cb_piece in $cb_head) return 0 ;; *) return 1 ;; esac
    fi
    cb_cut_back "$cb_tails" || return 1
    case $cb_piece in $cb_tail) ;; *) return 1 ;; esac
    [ "$cb_heads" != 0 ] || [ -n "$cb_middle" ] || return 0
    cb_cut_front "$cb_heads" || return 1
    case $cb_piece in $cb_head) ;; *) return 1 ;; esac
    [ -z "$cb_middle" ] || cb_fits_middle
}

# Whether the pieces of cb_middle are found in cb_left one after the other; the first place is always a good one.
cb_fits_middle() {
    cb_todo=$cb_middle
    while [ -n "$cb_todo" ]; do
        cb_chunk=${cb_todo%%/\*\**}
        cb_todo=${cb_todo#*/\*\*}
        cb_count_parts "$cb_chunk"
        while :; do
            cb_whole=$cb_left
            cb_cut_front "$cb_parts" || return 1
            case $cb_piece in $cb_chunk) break ;; esac
            cb_left=$cb_whole
            cb_cut_front 1
        done
    done
}

# Sets cb_parts: how many components piece $1 has.
cb_count_parts() {
    cb_parts=0
    cb_rest=$1
    while [ -n "$cb_rest" ]; do
        cb_parts=$((cb_parts + 1))
        cb_rest=${cb_rest%/*}
    done
}

# Moves $1 components from the end of cb_left to cb_piece; fails when there are not as many.
cb_cut_back() {
    cb_piece=
    cb_count=$1
    while [ "$cb_count" -gt 0 ]; do
        [ -n "$cb_left" ] || return 1
        cb_piece=/${cb_left##*/}$cb_piece
        cb_left=${cb_left%/*}
        cb_count=$((cb_count - 1))
    done
}

# The same from its beginning.
cb_cut_front() {
    cb_piece=
    cb_count=$1
    while [ "$cb_count" -gt 0 ]; do
        [ -n "$cb_left" ] || return 1
        cb_left=${cb_left#/}
        cb_piece=$cb_piece/${cb_left%%/*}
        case $cb_left in
            */*) cb_left=/${cb_left#*/} ;;
            *) cb_left= ;;
        esac
        cb_count=$((cb_count - 1))
    done
}

# Prints the path $2$1 as one line if $1 fits the compiled pattern and it is a file.
cb_offer() {
    if cb_fits "$1" && [ -f "$3$1" ]; then
        cb_escape "$2$1"
        printf '%s\n' "$cb_text"
    fi
}

# ---------------------------------------------------------------------------------------------- walking

# Prints what fits the compiled pattern below directory $1 (ends in a slash) by the shell's own means. $2 is its name
# for the user, $3 the path from there, $4 how many levels are left (0: any number).
cb_walk() {
    if [ ! -r "$1$3" ] || [ ! -x "$1$3" ]; then
        printf '%s: cannot be read\n' "$2$3" >&2
        printf '%s\n' "$cb_torn"
        return
    fi
    for cb_entry in "$1$3"* "$1$3".[!.]* "$1$3"..?*; do
        if [ -d "$cb_entry" ] && [ ! -h "$cb_entry" ]; then
            [ "$4" = 1 ] || cb_walk "$1" "$2" "${cb_entry#"$1"}/" "$(($4 ? $4 - 1 : 0))"
        elif [ "$4" -le 1 ]; then
            cb_offer "${cb_entry#"$1"}" "$2" "$1"
        fi
    done
}

# Prints what fits pattern $1.
cb_match() {
    cb_tidy_up "$1" || return 0
    cb_split
    if [ -z "$cb_pattern" ]; then
        case $cb_base in /*) cb_start=$cb_base ;; *) cb_start=./$cb_base ;; esac
        [ -f "$cb_start" ] || return 0
        cb_escape "$cb_base"
        printf '%s\n' "$cb_text"
        return
    fi
    case $cb_base in
        /*) cb_start=$cb_base. ;;
        '') cb_start=. ;;
        *) cb_start=./$cb_base. ;;
    esac
    [ -d "$cb_start" ] || return 0
    case $cb_pattern in
        *'[^'*)
            cb_negate "$cb_pattern"
            cb_pattern=$cb_text
            ;;
    esac
    cb_compile "$cb_pattern"
    cb_depth=0
    [ -n "$cb_deep" ] || cb_depth=$cb_levels
    if ! command -v find >/dev/null; then
        cb_walk "$cb_start/" "$cb_base" '' "$cb_depth"
        return
    fi
    set -- "$cb_start" -mindepth 1
    [ "$cb_depth" = 0 ] || set -- "$cb_start" -mindepth "$cb_depth" -maxdepth "$cb_depth"
    find "$@" '(' -type f -o -type l ')' \
        -exec /bin/sh "$cb_globs" "$cb_pattern" "$cb_start/" "$cb_base" '{}' + || printf '%s\n' "$cb_torn"
}

# Sets cb_found: the files that match any of the arguments, each once, in the order of the bytes, one a line; and
# cb_whole, empty when some directory could not be read. Reads this file again as $cb_globs.
cb_search() {
    if command -v sort >/dev/null; then
        cb_found=$(for cb_one_pattern; do cb_match "$cb_one_pattern"; done | LC_ALL=C sort -u)
    else
        cb_found=$(for cb_one_pattern; do cb_match "$cb_one_pattern"; done)
        cb_sort
    fi
    cb_whole=1
    case $cb_found in
        *"$cb_torn"*)
            cb_whole=
            cb_found=${cb_found%%"$cb_torn"*}${cb_found#*"$cb_torn"}
            ;;
    esac
}

# ---------------------------------------------------------------------------------------------- sorting by hand

# Sorts the lines of cb_found, each once, where the image has no sort(1).
cb_sort() {
    case $cb_found in *"$cb_newline"*) ;; *) return ;; esac
    cb_items=0
    set -f
    cb_ifs=$IFS
    IFS=$cb_newline
    for cb_line in $cb_found; do
        cb_items=$((cb_items + 1))
        eval "cb_item_$cb_items=\$cb_line"
    done
    IFS=$cb_ifs
    set +f
    cb_sort_part 1 "$cb_items"
    cb_found=
    cb_former=
    for cb_index in $cb_sorted; do
        eval "cb_line=\$cb_item_$cb_index"
        [ "$cb_line" = "$cb_former" ] || cb_found=$cb_found${cb_found:+$cb_newline}$cb_line
        cb_former=$cb_line
    done
}

# Sets cb_sorted: the numbers $1 to $2 of items, in the order of the items.
cb_sort_part() {
    if [ "$1" = "$2" ]; then
        cb_sorted="$1 "
        return
    fi
    cb_sort_part "$1" "$((($1 + $2) / 2))"
    set -- "$1" "$2" "$cb_sorted"
    cb_sort_part "$((($1 + $2) / 2 + 1))" "$2"
    set -- "$3" "$cb_sorted"
    cb_sorted=
    while [ -n "$1" ] && [ -n "$2" ]; do
        eval "cb_left=\$cb_item_${1%% *} cb_right=\$cb_item_${2%% *}"
        # shellcheck disable=SC3012,SC2154  # every shell that this runs under compares so; eval sets cb_right
        if [ "$cb_right" \< "$cb_left" ]; then
            cb_sorted="$cb_sorted${2%% *} "
            set -- "$1" "${2#* }"
        else
            cb_sorted="$cb_sorted${1%% *} "
            set -- "${1#* }" "$2"
        fi
    done
    cb_sorted=$cb_sorted$1$2
}

# ---------------------------------------------------------------------------------------------- by itself

if [ "${0##*/}" = globs.sh ]; then
    cb_compile "$1"
    cb_prefix=$2
    cb_label=$3
    shift 3
    for cb_path; do
        cb_offer "${cb_path#"$cb_prefix"}" "$cb_label" "$cb_prefix"
    done
    exit 0
fi
