# The module protocol, version 1, in POSIX sh with built-ins alone: no program is started where `printf`
# is one, as it is in dash, bash and busybox.
#
# Sourcing this file reads the request and promises a result: a script that ends without one has
# failed, and the node is told so. Messages go to what was stdout; stdout itself is stderr from then
# on, which the node keeps as log.
#
# After sourcing:
#   json_get POINTER   finds a value of the request by its JSON Pointer (RFC 6901), as in
#                      `json_get /input/greeting`; sets `json` to the text of it and `json_kind` to
#                      string, number, true, false, null, object or array; fails where there is none
#   json_string TEXT   sets `json_text` to TEXT as a JSON string, quotes included
#   log LEVEL TEXT     LEVEL is trace, debug, info, warn, error or critical
#   progress FRACTION TEXT
#   metric NAME VALUE
#   emit TOPIC [SUBJECT [JSON]]
#   finding TOPIC SEVERITY CONFIDENCE SUBJECT TEXT FINGERPRINT [true, if it has gone]
#   succeed CHANGED TEXT [OUTPUT_JSON [STATE_JSON]]      ends the run; CHANGED is true or false
#   fail TEXT          ends the run: it was tried and could not be done
#   refuse TEXT        ends the run: it was not tried, since something it needs was withheld
#   $dry_run           true or false
#
# Every value is found by reading the request from its start, at about one megabyte a second. For large
# inputs take Python.

# Bytes, not characters: what is escaped below is looked at byte by byte.
LC_ALL=C
export LC_ALL

exec 3>&1 1>&2

_newline='
'
_tab=$(printf '\t')
_return=$(printf '\r')
_blank=" $_tab$_newline$_return"
_ended=false

_end() {
    _ended=true
    printf '{"result":{%s}}\n' "$1" >&3
}

_on_exit() {
    _code=$?
    if [ "$_ended" = false ]; then
        _end '"outcome":"failed","message":"the script ended without a result; stderr says more"'
        [ "$_code" -ne 0 ] || _code=1
    fi
    exit "$_code"
}
trap _on_exit EXIT

# --- Writing

# Prints the bytes of a code point as UTF-8.
_utf8() {
    if [ "$1" -lt 128 ]; then
        printf "\\$(printf %03o "$1")"
    elif [ "$1" -lt 2048 ]; then
        printf "\\$(printf %03o $((192 | $1 >> 6)))\\$(printf %03o $((128 | $1 & 63)))"
    elif [ "$1" -lt 65536 ]; then
        printf "\\$(printf %03o $((224 | $1 >> 12)))\\$(printf %03o $((128 | $1 >> 6 & 63)))"
        printf "\\$(printf %03o $((128 | $1 & 63)))"
    else
        printf "\\$(printf %03o $((240 | $1 >> 18)))\\$(printf %03o $((128 | $1 >> 12 & 63)))"
        printf "\\$(printf %03o $((128 | $1 >> 6 & 63)))\\$(printf %03o $((128 | $1 & 63)))"
    fi
}

# Sets _byte to the value of the first byte of _left.
_first_byte() {
    _byte=$(printf '%d' "'${_left%"${_left#?}"}")
    _byte=$((_byte & 255))
}

# Appends what begins at _left and is not ASCII, as an escape, so that any bytes make good JSON.
_append_foreign() {
    _first_byte
    _left=${_left#?}
    _more=0
    if [ "$_byte" -ge 194 ] && [ "$_byte" -le 223 ]; then
        _more=1 _code_point=$((_byte & 31)) _least=128
    elif [ "$_byte" -ge 224 ] && [ "$_byte" -le 239 ]; then
        _more=2 _code_point=$((_byte & 15)) _least=2048
    elif [ "$_byte" -ge 240 ] && [ "$_byte" -le 244 ]; then
        _more=3 _code_point=$((_byte & 7)) _least=65536
    else
        _code_point=65533 _least=0
    fi
    while [ "$_more" -gt 0 ]; do
        [ -n "$_left" ] && _first_byte || _byte=0
        if [ "$_byte" -lt 128 ] || [ "$_byte" -gt 191 ]; then
            _code_point=65533
            break
        fi
        _code_point=$((_code_point << 6 | _byte & 63))
        _left=${_left#?}
        _more=$((_more - 1))
    done
    # Too long a form, half of a surrogate pair, or beyond Unicode.
    if [ "$_code_point" -lt "$_least" ] || [ "$_code_point" -gt 1114111 ] ||
        { [ "$_code_point" -ge 55296 ] && [ "$_code_point" -le 57343 ]; }; then
        _code_point=65533
    fi
    if [ "$_code_point" -ge 65536 ]; then
        _code_point=$((_code_point - 65536))
        json_text=$json_text$(printf '\\u%04x\\u%04x' \
            $((55296 | _code_point >> 10)) $((56320 | _code_point & 1023)))
    else
        json_text=$json_text$(printf '\\u%04x' "$_code_point")
    fi
}

json_string() {
    _left=$1
    json_text='"'
    while [ -n "$_left" ]; do
        # As far as nothing has to be escaped: ASCII but control characters, `"` and `\`.
        _plain=${_left%%[!]\ !#-[^-~]*}
        json_text=$json_text$_plain
        [ "$_left" != "$_plain" ] || break
        _left=${_left#"$_plain"}
        case $_left in
        \"*) json_text=$json_text\\\" _left=${_left#?} ;;
        \\*) json_text=$json_text\\\\ _left=${_left#?} ;;
        "$_newline"*) json_text=$json_text\\n _left=${_left#?} ;;
        "$_tab"*) json_text=$json_text\\t _left=${_left#?} ;;
        *)
            _first_byte
            if [ "$_byte" -lt 128 ]; then
                json_text=$json_text$(printf '\\u%04x' "$_byte")
                _left=${_left#?}
            else
                _append_foreign
            fi
            ;;
        esac
    done
    json_text=$json_text'"'
}

log() {
    json_string "$2"
    printf '{"log":{"level":"%s","message":%s}}\n' "$1" "$json_text" >&3
}

progress() {
    json_string "$2"
    printf '{"progress":{"fraction":%s,"message":%s}}\n' "$1" "$json_text" >&3
}

metric() {
    json_string "$1"
    printf '{"metric":{"name":%s,"value":%s}}\n' "$json_text" "$2" >&3
}

emit() {
    json_string "$1"
    _event="\"type\":$json_text"
    if [ -n "${2-}" ]; then
        json_string "$2"
        _event="$_event,\"subject\":$json_text"
    fi
    printf '{"event":{%s,"data":%s}}\n' "$_event" "${3:-null}" >&3
}

finding() {
    json_string "$1"
    _finding="\"type\":$json_text,\"severity\":\"$2\",\"confidence\":$3"
    json_string "$4"
    _finding="$_finding,\"subject\":$json_text"
    json_string "$5"
    _finding="$_finding,\"message\":$json_text"
    json_string "$6"
    printf '{"finding":{%s,"fingerprint":%s,"resolved":%s}}\n' \
        "$_finding" "$json_text" "${7:-false}" >&3
}

succeed() {
    json_string "$2"
    _result="\"outcome\":\"succeeded\",\"changed\":$1,\"message\":$json_text"
    [ -z "${3-}" ] || _result="$_result,\"output\":$3"
    # A dry run leaves no state.
    [ -z "${4-}" ] || [ "$dry_run" = true ] || _result="$_result,\"state\":$4"
    _end "$_result"
    exit 0
}

fail() {
    json_string "$1"
    _end "\"outcome\":\"failed\",\"message\":$json_text"
    exit 1
}

refuse() {
    json_string "$1"
    _end "\"outcome\":\"refused\",\"message\":$json_text"
    exit 2
}

# --- Reading

_not_json() {
    fail "the request is not JSON"
}

_trim() {
    _rest=${_rest#"${_rest%%[!$_blank]*}"}
}

# Cuts the string that _rest begins with; _raw is what stands between its quotes. Fails, and cuts
# nothing, where it does not end.
_cut_string() {
    _left=${_rest#?}
    _raw=
    while :; do
        case $_left in
        *\"*) ;;
        *) return 1 ;;
        esac
        _part=${_left%%\"*}
        _left=${_left#*\"}
        _raw=$_raw$_part
        # After an odd number of backslashes the quote is part of the string.
        _slashes=${_part##*[!\\]}
        [ $((${#_slashes} % 2)) -eq 1 ] || break
        _raw=$_raw\"
    done
    _rest=$_left
}

# Sets _code_point from the four digits that _raw begins with, and cuts them.
_cut_digits() {
    _digits=${_raw%"${_raw#????}"}
    case $_digits in
    [0-9a-fA-F][0-9a-fA-F][0-9a-fA-F][0-9a-fA-F]) ;;
    *) _not_json ;;
    esac
    _raw=${_raw#????}
    _code_point=$((0x$_digits))
}

# Sets json to the text that _raw stands for. A NUL, which no variable can hold, and half of a
# surrogate pair become U+FFFD.
_decode() {
    json=
    while :; do
        case $_raw in
        *\\*) ;;
        *) break ;;
        esac
        json=$json${_raw%%\\*}
        _raw=${_raw#*\\}
        case $_raw in
        n*) json=$json$_newline _raw=${_raw#?} ;;
        t*) json=$json$_tab _raw=${_raw#?} ;;
        r*) json=$json$_return _raw=${_raw#?} ;;
        b*) json=$json$(printf '\b') _raw=${_raw#?} ;;
        f*) json=$json$(printf '\f') _raw=${_raw#?} ;;
        [\"\\/]*) json=$json${_raw%"${_raw#?}"} _raw=${_raw#?} ;;
        u????*)
            _raw=${_raw#u}
            _cut_digits
            _high=$_code_point
            if [ "$_high" -ge 55296 ] && [ "$_high" -le 56319 ]; then
                _code_point=65533
                case $_raw in
                \\u[dD][c-fC-F]??*)
                    _raw=${_raw#\\u}
                    _cut_digits
                    _code_point=$((65536 + ((_high & 1023) << 10 | _code_point & 1023)))
                    ;;
                esac
            elif [ "$_high" -eq 0 ] || { [ "$_high" -ge 56320 ] && [ "$_high" -le 57343 ]; }; then
                _code_point=65533
            fi
            # The mark keeps a line feed at the end.
            _text=$(_utf8 "$_code_point"; printf x)
            json=$json${_text%x}
            ;;
        *) _not_json ;;
        esac
    done
    json=$json$_raw
}

# Appends the key _raw to _path as RFC 6901 writes it. Keys are compared as they are written.
_push_key() {
    _key=
    while :; do
        case $_raw in
        *[~/]*) ;;
        *) break ;;
        esac
        _part=${_raw%%[~/]*}
        _raw=${_raw#"$_part"}
        case $_raw in
        ~*) _key=$_key$_part~0 ;;
        *) _key=$_key$_part~1 ;;
        esac
        _raw=${_raw#?}
    done
    _path=$_path/$_key$_raw
}

# Walks over _rest, which ends at a comma or at the end of the request. Succeeds when it has come to
# the value at _want; fails with 1 when it needs what follows.
_walk() {
    while :; do
        _trim
        case $_next:$_rest in
        *:) return 1 ;;
        value:\{*)
            if [ "$_path" = "$_want" ]; then
                json='' json_kind=object
                return 0
            fi
            _rest=${_rest#?} _open=o$_open _next=key
            ;;
        value:\[*)
            if [ "$_path" = "$_want" ]; then
                json='' json_kind=array
                return 0
            fi
            _rest=${_rest#?}
            _trim
            case $_rest in
            \]*) _rest=${_rest#?} _next=after ;;
            *) _open=a$_open _path=$_path/0 ;;
            esac
            ;;
        value:\"*)
            _cut_string || return 1
            if [ "$_path" = "$_want" ]; then
                _decode
                json_kind=string
                return 0
            fi
            _next=after
            ;;
        value:*)
            _raw=${_rest%%[]\}$_blank]*}
            _rest=${_rest#"$_raw"}
            case $_raw in
            true | false | null) _kind=$_raw ;;
            [0-9]* | -[0-9]*) _kind=number ;;
            *) _not_json ;;
            esac
            if [ "$_path" = "$_want" ]; then
                json=$_raw json_kind=$_kind
                return 0
            fi
            _next=after
            ;;
        key:\}*) _rest=${_rest#?} _open=${_open#?} _next=after ;;
        key:\"*)
            _cut_string || return 1
            _push_key
            _trim
            case $_rest in
            :*) _rest=${_rest#?} _next=value ;;
            *) _not_json ;;
            esac
            ;;
        after:*)
            case $_open:$_rest in
            o*:\}* | a*:\]*) _rest=${_rest#?} _path=${_path%/*} _open=${_open#?} ;;
            *) _not_json ;;
            esac
            ;;
        *) _not_json ;;
        esac
    done
}

json_get() {
    _want=$1 _path='' _open='' _next=value _rest=''
    # Cut at the commas first, by the shell itself: it copies all that is left with every step.
    _ifs=${IFS-$_blank} _flags=$-
    set -f
    IFS=,
    set -- $_request
    IFS=$_ifs
    case $_flags in
    *f*) ;;
    *) set +f ;;
    esac
    _first=true
    for _piece; do
        case $_first$_next:$_open:$_rest in
        true*) _rest=$_piece ;;
        *:*:\"*) _rest=$_rest,$_piece ;;
        falseafter:o*:) _rest=$_piece _path=${_path%/*} _next=key ;;
        falseafter:a*:) _rest=$_piece _path=${_path%/*}/$((${_path##*/} + 1)) _next=value ;;
        *) _not_json ;;
        esac
        _first=false
        _walk && return 0
    done
    case $_next:$_open:$_rest in
    after::) return 1 ;;
    *) _not_json ;;
    esac
}

dry_run=false
_request=
while IFS= read -r _line || [ -n "$_line" ]; do
    _request=$_request$_line$_newline
done
_rest=$_request
_trim
if [ -z "$_rest" ]; then
    fail 'there is no request on stdin: a node starts a module; to try one, use `wachter module test`'
fi
json_get /protocol || fail 'the request names no protocol'
if [ "$json" != 1 ]; then
    refuse "the node speaks module protocol $json, this module speaks 1; take the wachter.sh of the node's version"
fi
if json_get /dry_run; then
    dry_run=$json
fi
