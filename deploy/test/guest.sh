#!/bin/bash
# Runs inside the machine that vm.sh makes: installs Wachter from its package, upgrades it, and sees whether
# systemd and the kernel keep it and its runs as they promise. Says each step on the console; the last line is the verdict.
set -u
failed=0
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

say() { echo "vm-test: $*" >/dev/console; }

# step NAME COMMAND...: runs it, and says what came of it.
step() {
    local name=$1 began=$SECONDS
    shift
    if "$@" >/run/step 2>&1; then
        say "ok      $name ($((SECONDS - began)) s)"
    else
        failed=$((failed + 1))
        say "FAILED  $name ($((SECONDS - began)) s)"
        tail -n 30 /run/step >/dev/console
    fi
}

# until SECONDS COMMAND...: waits for it to succeed.
until_() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.3
    done
}

property() { systemctl show --property "$2" --value "$1"; }
active() { [ "$(property "$1" ActiveState)" = active ]; }
in_force() { wachter status | grep -q "^release  *$1 "; }
succeeded() { wachter runs --limit 1000 | grep -c ' succeeded ' || true; }
more_runs_than() { [ "$(succeeded)" -gt "$1" ]; }
restarted() { active "$1" && [ "$(property "$1" NRestarts)" -gt "$2" ] && [ "$(property "$1" MainPID)" != "$3" ]; }

make_repository() {
    git config --global user.name Ann && git config --global user.email ann@example.com
    git config --global init.defaultBranch main
    wachter init /srv/infra --yes --name ann --release || return 1
    sed -i 's/every: [0-9a-z]*/every: 3s/' /srv/infra/config/agents/*.yaml
    release
}
release() {
    cd /srv/infra && git add -A && git commit --allow-empty --quiet -m change && wachter release --yes
}
reload() {
    release && systemctl reload wachter && until_ 60 in_force 3 && active wachter
}
status_text() { property wachter StatusText | grep -q "release $1 is in force"; }

# The node's own mounts are read-only views of the same device, and must not stand for the device.
sees_the_disk() {
    wachter runs --output json --limit 5 | tee /run/runs | grep -q '"/"' || { head -c 3000 /run/runs; return 1; }
}

# Ends the process at once, and sees a new one do the work.
killed() {
    local unit=$1 pid restarts runs
    pid=$(property "$unit" MainPID) restarts=$(property "$unit" NRestarts)
    kill -KILL "$pid" && until_ 60 restarted "$unit" "$restarts" "$pid" || return 1
    runs=$(succeeded)
    until_ 90 more_runs_than "$runs"
}
# Stops it from going on, and sees systemd notice.
hung() {
    local unit=$1 pid restarts
    pid=$(property "$unit" MainPID) restarts=$(property "$unit" NRestarts)
    kill -STOP "$pid" && until_ 90 restarted "$unit" "$restarts" "$pid" || return 1
    journalctl --unit "$unit" --no-pager | grep -q 'Watchdog timeout'
}
stopped() {
    systemctl stop wachter wachter-launcher || return 1
    for unit in wachter wachter-launcher; do
        [ "$(property $unit ActiveState)" = inactive ] && [ "$(property $unit Result)" = success ] || return 1
    done
    ! pgrep --uid wachter && ! pgrep wachter && ! ls -d /sys/fs/cgroup/system.slice/wachter*
}
# The new version takes over what runs, and goes on where the old one was.
upgraded() {
    local node launcher events
    node=$(property wachter MainPID) launcher=$(property wachter-launcher MainPID)
    events=$(wachter audit verify --output json | grep -o '"last": [0-9]*' | grep -o '[0-9]*')
    dpkg --install /opt/wachter/present.deb && until_ 60 active wachter && until_ 60 active wachter-launcher || return 1
    [ "$(property wachter MainPID)" != "$node" ] && [ "$(property wachter-launcher MainPID)" != "$launcher" ] || return 1
    until_ 60 in_force 7 && wachter audit verify && [ "$events" -gt 0 ] || return 1
    [ "$(wachter audit verify --output json | grep -o '"last": [0-9]*' | grep -o '[0-9]*')" -gt "$events" ]
}
# An upgrade starts nothing that was stopped.
reinstalled() {
    systemctl stop wachter wachter-launcher && dpkg --install /opt/wachter/present.deb && ! active wachter && ! active wachter-launcher
}
removed() {
    systemctl start wachter-launcher wachter && until_ 60 active wachter && dpkg --remove wachter || return 1
    [ ! -e /usr/bin/wachter ] && [ ! -e /usr/lib/wachter ] && ! systemctl cat wachter.service && ! pgrep wachter \
        && [ -d /var/lib/wachter/journal ] && [ -f /etc/wachter/node.yaml ]
}
purged() {
    dpkg --purge wachter && [ ! -e /var/lib/wachter ] && [ ! -e /var/lib/wachter-launcher ] && [ ! -e /etc/wachter ] \
        && ! find / -xdev -path /srv -prune -o -path /opt -prune -o -path /root -prune -o -path /var/log -prune -o -path /var/lib/dpkg -prune -o -iname '*wachter*' -print | grep -v 'vm-test\|/home/' | grep .
}
by_script() {
    /opt/wachter/dist/deploy/install.sh --from /opt/wachter/dist && [ "$(readlink -f /usr/local/bin/wachter)" = /usr/local/lib/wachter/wachter ] \
        && /usr/local/bin/wachter --version && /opt/wachter/dist/deploy/install.sh --uninstall && [ ! -e /usr/local/bin/wachter ] && ! systemctl cat wachter.service
}
cgroups() {
    local mechanism
    for mechanism in cgroup-memory cgroup-cpu cgroup-processes separate-user; do
        ! wachter status | grep 'not enforced' | grep -q "$mechanism" || return 1
    done
    wachter status | grep -q '^profile  *root'
}
# The launcher's socket is for root and the node alone.
sealed() { ! setpriv --reuid nobody --regid nogroup --clear-groups ls /run/wachter-launcher; }
modes() {
    [ "$(stat -c '%U %a' /var/lib/wachter)" = 'wachter 700' ] && [ "$(stat -c '%U %a' /var/lib/wachter-launcher)" = 'root 711' ] \
        && [ "$(stat -c '%U %G %a' /run/wachter-launcher)" = 'root wachter 750' ]
}

# Makes a module and an agent that is run on demand. Its file comes from stdin.
make_module() {
    local name=$1 limits=$2 permissions=$3
    cd /srv/infra && wachter module new "$name" --language shell || return 1
    sed -i "s|^limits: .*|limits: $limits|; s|^permissions: .*|permissions: $permissions|" "modules/$name/module.yaml"
    cat >"modules/$name/main.sh"
    printf 'name: %s\nmodule: %s\non: { schedule: { cron: "0 0 1 1 *" } }\nretry: { attempts: 1 }\n' "$name" "$name" >"config/agents/$name.yaml"
}
# Modules that take what they can: memory, processes, the processor.
make_hogs() {
    make_module memory-hog '{ timeout: 60s, memory: 32MiB }' '{}' <<'END' || return 1
#!/bin/bash
text=$(printf '%*s' 200000000 '')
echo "{\"result\": {\"output\": ${#text}}}"
END
    make_module process-hog '{ timeout: 60s, processes: 8 }' '{ exec: [/usr/bin/perl] }' <<'END' || return 1
#!/bin/bash
exec /usr/bin/perl -e 'while (@children < 100 and defined(my $child = fork)) { if (!$child) { sleep 60; exit } push @children, $child }
    kill KILL => @children; printf qq({"result": {"output": %d}}\n), scalar @children'
END
    make_module processor-hog '{ timeout: 60s, cpu: 0.2, memory: 32MiB }' '{}' <<'END' || return 1
#!/bin/bash
while [ $SECONDS -lt 6 ]; do :; done
echo '{"result": {}}'
END
    sed -i 's|^grants:|grants:\n  process-hog: { exec: [/usr/bin/perl] }|' /etc/wachter/node.yaml
    wachter sign --all && release && systemctl reload wachter && until_ 60 in_force 5 || return 1
    until_ 60 eval "wachter agents | grep -q '^processor-hog .* idle'"
}
memory_is_limited() {
    wachter agents run memory-hog --wait >/run/hog 2>&1 && return 1
    cat /run/hog && grep -q 'more than its memory limit' /run/hog
}
processes_are_limited() {
    wachter agents run process-hog --wait --output json >/run/hog || { cat /run/hog; return 1; }
    local children
    children=$(grep -o '"output": [0-9]*' /run/hog | head -n 1 | grep -o '[0-9]*')
    echo "$children children" && [ "$children" -ge 4 ] && [ "$children" -le 9 ]
}
# A fifth of a processor, with some room for the start.
processor_is_limited() {
    wachter agents run processor-hog --wait --output json >/run/hog || { cat /run/hog; return 1; }
    local used wall
    used=$(grep -o '"cpu_microseconds": [0-9]*' /run/hog | grep -o '[0-9]*$') wall=$(grep -o '"wall_microseconds": [0-9]*' /run/hog | grep -o '[0-9]*$')
    echo "$used of $wall microseconds" && [ "$wall" -gt 5000000 ] && [ $((used * 100 / wall)) -le 30 ]
}
# An ordinary user whose unit has a control group of its own has limits too, without the launcher of root.
as_ann() { systemd-run --quiet --collect --wait --pipe --uid ann --property Delegate=yes --setenv HOME=/home/ann --working-directory /home/ann "$@"; }
delegated() {
    useradd --create-home --shell /bin/bash ann || return 1
    as_ann /bin/bash -e <<'END' || return 1
        git config --global user.name Ann && git config --global user.email ann@example.com
        wachter init infra --yes --name ann
        sed -i 's/development: false/development: true/' ~/.config/wachter/node.yaml
        cd infra && wachter module new hog --language shell
        sed -i 's|^limits: .*|limits: { timeout: 60s, memory: 32MiB }|' modules/hog/module.yaml
        printf '#!/bin/bash\ntext=$(printf "%%*s" 200000000 "")\necho "{\"result\": {}}"\n' >modules/hog/main.sh
END
    as_ann wachter doctor >/run/doctor 2>&1
    cat /run/doctor && grep -q delegated /run/doctor || return 1
    as_ann wachter exec ./infra/modules/hog >/run/hog 2>&1 && return 1
    cat /run/hog && grep -q 'more than its memory limit' /run/hog
}

# A module that writes one granted folder and reaches one granted port, through the filters and the
# missing network of the launcher's unit.
jailed() {
    mkdir /srv/out && chmod 1777 /srv/out || return 1
    perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8099", Listen => 5, ReuseAddr => 1) or die;
        while (my $c = $s->accept) { print $c "hello from outside\n"; close $c }' >/dev/null 2>&1 &
    sed -i 's|^grants:|grants:\n  probe: { filesystem: { write: [/srv/out] }, network: ["localhost:8099"], network_ranges: ["127.0.0.0/8"] }|' /etc/wachter/node.yaml
    cd /srv/infra && wachter module new probe --language shell || return 1
    sed -i 's|^permissions: .*|permissions: { filesystem: { write: [/srv/out] }, network: ["localhost:8099"] }|' modules/probe/module.yaml
    cat >modules/probe/main.sh <<'END'
#!/bin/bash
read -r request
exec 3<>/dev/tcp/localhost/8099 && read -r answer <&3 && echo "$answer" >/srv/out/heard
echo '{"result": {"output": {}}}'
END
    printf 'name: probe\nmodule: probe\non: { schedule: { every: 3s } }\n' >config/agents/probe.yaml
    wachter sign --all && release && systemctl reload wachter
    until_ 60 grep -sq "hello from outside" /srv/out/heard && [ "$(stat -c %u /srv/out/heard)" -ge 1879048192 ] && return
    wachter modules; wachter runs --limit 3; return 1
}
# What is wrong with the host itself: a unit that fails is told, through the hardening of the node's own,
# and that it has gone as well.
found() { wachter findings | grep -q "$@"; }
failed_unit() {
    systemd-run --quiet --unit broken /bin/false
    until_ 60 found 'unit.failed .*broken.service' || { wachter findings; return 1; }
    systemctl reset-failed broken && until_ 60 eval '! found "unit.failed .*broken.service"' && return
    wachter findings
    return 1
}
# Logs as systemd keeps them, read by a run that has a user of its own and the groups that it was granted.
reads_the_journal() {
    sed -i 's|^grants:|grants:\n  log-analyzer: { filesystem: { read: [/var/log] }, exec: [/usr/bin/journalctl], groups: [adm] }|' /etc/wachter/node.yaml
    cd /srv/infra && wachter module add log-analyzer || return 1
    sed -i 's/every: [0-9a-z]*/every: 3s/' config/agents/log-analyzer.yaml
    printf 'with: { sources: [{ journal: true }] }\n' >>config/agents/log-analyzer.yaml
    wachter sign --all && release && systemctl reload wachter && until_ 60 in_force 6 || return 1
    until_ 60 eval "wachter runs --agent log-analyzer | grep -q succeeded" || { wachter modules; wachter runs --agent log-analyzer; return 1; }
    for port in 1 2 3 4 5 6; do
        logger --tag sshd --priority auth.info "Failed password for root from 203.0.113.9 port 410$port ssh2"
    done
    until_ 60 found 'login.brute-force .*203.0.113.9' && return
    wachter runs --agent log-analyzer --output json | head -c 3000
    return 1
}
# Compiled in a jail of the launcher's unit first, and run from the machine code that it keeps. The module is
# preview 1 of WASI; all it does is to write its result.
runs_webassembly() {
    cd /srv/infra && wachter module new tiny --language c || return 1
    base64 --decode >modules/tiny/main.wasm <<'END'
AGFzbQEAAAABDAJgBH9/f38Bf2AAAAIjARZ3YXNpX3NuYXBzaG90X3ByZXZpZXcxCGZkX3dyaXRlAAADAgEBBQMBAAEHEwIGbWVtb3J5AgAGX3N0YXJ0AAEKDwENAEEBQQBBAUEIEAAaCwsiAgBBAAsIEAAAAA8AAAAAQRALD3sicmVzdWx0Ijoge319Cg==
END
    printf 'name: tiny\nmodule: tiny\non: { schedule: { cron: "0 0 1 1 *" } }\nretry: { attempts: 1 }\n' >config/agents/tiny.yaml
    wachter sign --all && release && systemctl reload wachter && until_ 60 in_force 7 || return 1
    until_ 120 eval "wachter agents | grep -q '^tiny .* idle'"
    wachter agents run tiny --wait || { wachter modules; return 1; }
}
described() {
    [ -f /usr/share/man/man1/wachter-run.1 ] && [ -f /usr/share/man/man8/wachter-launcher.8 ] \
        && bash -n /usr/share/bash-completion/completions/wachter
}
bundled() {
    wachter support-bundle --file /run/bundle.tar.gz && tar -C /run -xzf /run/bundle.tar.gz || return 1
    grep -q ActiveState=active /run/wachter-support-*/units.txt && grep -q 'is in force' /run/wachter-support-*/journald.txt
}
# A folder that a newer version has had: refused with what to do, and left alone.
newer_refused() {
    systemctl stop wachter && echo 99 >/var/lib/wachter/schema && ! systemctl start wachter || return 1
    journalctl --unit wachter --no-pager | grep -q 'written by a newer version of Wachter (layout 99' || return 1
    systemctl stop wachter
    [ "$(cat /var/lib/wachter/schema)" = 99 ] && echo 1 >/var/lib/wachter/schema
    systemctl reset-failed wachter && systemctl start wachter
}

say "$(systemctl --version | head -n 1), Linux $(uname -r)"
step 'install the package of the version before' dpkg --install /opt/wachter/before.deb
step 'it starts nothing by itself' eval '! active wachter && ! active wachter-launcher'
step 'pages and completions are there' described
step 'units are in order' systemd-analyze verify --man=no /usr/lib/systemd/system/wachter.service /usr/lib/systemd/system/wachter-launcher.service
step 'make a managed repository' make_repository
step 'start both' systemctl enable --now wachter-launcher wachter
step 'both are active' eval 'active wachter && active wachter-launcher'
step 'the release is in force' until_ 60 in_force 2
step 'the status is told' until_ 10 status_text 2
step 'an agent runs' until_ 90 more_runs_than 0
step 'control groups and users are enforced' cgroups
step 'folders have their owners' modes
step 'a stranger does not reach the launcher' sealed
step 'the disk is seen through the hardening' sees_the_disk
step 'reload takes a new release' reload
step 'a run writes and reaches what it was granted' jailed
step 'kill -9 of the node' killed wachter
step 'kill -9 of the launcher' killed wachter-launcher
step 'the watchdog ends a node that hangs' hung wachter
step 'the watchdog ends a launcher that hangs' hung wachter-launcher
step 'a newer data folder is refused' newer_refused
runs=$(succeeded)
step 'agents run again' until_ 90 more_runs_than "$runs"
step 'modules that take what they can' make_hogs
step 'a run has the memory that it was given' memory_is_limited
step 'a run has the processes that it was given' processes_are_limited
step 'a run has the share of the processor that it was given' processor_is_limited
step 'an ordinary user with a control group of its own' delegated
step 'a unit that fails is a finding, until it is reset' failed_unit
step 'the log analyzer reads the journal' reads_the_journal
step 'a module in WebAssembly runs' runs_webassembly
step 'upgrade, while both run' upgraded
step 'a support bundle' bundled
for unit in wachter wachter-launcher; do
    say "$(systemd-analyze security "$unit.service" --no-pager | tail -n 1 | tr -d '→')"
done
step 'stop both' stopped
step 'upgrade, while both are stopped' reinstalled
step 'remove' removed
step 'purge' purged
step 'install by script, and remove' by_script
if [ $failed -gt 0 ]; then
    journalctl --no-pager --output cat --unit wachter --unit wachter-launcher | tail -n 60 >/dev/console
    say "FAILED: $failed steps"
else
    say 'all steps succeeded'
fi
systemctl poweroff --force
