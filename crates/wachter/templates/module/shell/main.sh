#!/bin/sh
# {{name}}: greets, and remembers how often. Replace it by what your module does.
#
# wachter.sh says which functions there are. Another program than sh built-ins must be listed in
# module.yaml under `permissions.exec`.
set -u
. "${0%/*}/wachter.sh"

# Input, with its default. input.schema.json describes it.
greeting=Hello
if json_get /input/greeting; then
    [ "$json_kind" = string ] || fail "the input \`greeting\` is not right: it must be a text"
    greeting=$json
fi

# State: what the last run left; nothing at the first.
count=0
if json_get /state/count; then
    case $json in
    '' | *[!0-9]*) fail 'the state of the last run cannot be read: `count` is no number' ;;
    esac
    count=$json
fi
greeted=false
if json_get /state/greeting && [ "$json" = "$greeting" ]; then
    greeted=true
fi
count=$((count + 1))
log info "run number $count"

# Report a problem like this, with its topic under `emits` in module.yaml:
# finding {{name}}.problem low 1 greeting "the greeting is short" "{{name}}.problem:greeting"

json_string "$greeting"
state="{\"count\":$count,\"greeting\":$json_text}"
output="{\"count\":$count}"

# A second run with the same input finds nothing to do.
if [ "$greeted" = true ]; then
    succeed false "$greeting again" "$output" "$state"
fi
# In a dry run say what would be done, and do nothing.
if [ "$dry_run" = true ]; then
    succeed true "would greet with $greeting" "$output"
fi
# Do it here.
succeed true "$greeting" "$output" "$state"
