#!/bin/sh
# Installs Wachter beside systemd: three executables, two units, a user. Starts nothing.
set -eu

usage() {
    cat <<'END'
Usage: install.sh [--from DIR] [--prefix DIR] [--root DIR] [--uninstall]

  --from DIR     the folder of the three executables [default: the one above this script]
  --prefix DIR   below which they go: DIR/lib/wachter, DIR/bin/wachter [default: /usr/local]
  --root DIR     install into another system's files, for images [default: /]
  --uninstall    remove what was installed; data, settings and the user stay
END
}

here=$(cd "$(dirname "$0")" && pwd)
from=$(dirname "$here") prefix=/usr/local root= uninstall=
while [ $# -gt 0 ]; do
    case $1 in
        --from | --prefix | --root)
            [ $# -ge 2 ] || { usage >&2; exit 2; }
            case $1 in --from) from=$2 ;; --prefix) prefix=$2 ;; *) root=${2%/} ;; esac
            shift 2
            ;;
        --uninstall) uninstall=1; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done

library=$prefix/lib/wachter
# What an administrator installs by hand belongs below /etc, what a package installs below its prefix.
case $prefix in
    /usr) units=/usr/lib/systemd/system sysusers=/usr/lib/sysusers.d tmpfiles=/usr/lib/tmpfiles.d ;;
    *) units=/etc/systemd/system sysusers=/etc/sysusers.d tmpfiles=/etc/tmpfiles.d ;;
esac
case $prefix in /usr) share=/usr/share ;; *) share=$prefix/share ;; esac
bash=$share/bash-completion/completions/wachter
zsh=$share/zsh/site-functions/_wachter
fish=$share/fish/vendor_completions.d/wachter.fish

running() {
    [ -z "$root" ] && [ -d /run/systemd/system ]
}

if [ -n "$uninstall" ]; then
    if running; then
        systemctl disable --now wachter.service wachter-launcher.service 2>/dev/null || true
    fi
    for name in wachter.service wachter-launcher.service; do
        rm -f "$root$units/$name"
    done
    rm -f "$root$sysusers/wachter.conf" "$root$tmpfiles/wachter.conf"
    rm -f "$root$bash" "$root$zsh" "$root$fish" "$root$prefix/bin/wachter"
    rm -f "$root$share"/man/man1/wachter.1 "$root$share"/man/man1/wachter-*.1 "$root$share"/man/man8/wachter-launcher.8
    rm -rf "$root$library"
    if running; then
        systemctl daemon-reload
    fi
    echo "removed; /etc/wachter, /var/lib/wachter, /var/lib/wachter-launcher and the user wachter stay"
    exit 0
fi

for name in wachter wachter-launcher wachter-modules; do
    [ -x "$from/$name" ] || { echo "install.sh: $from/$name is missing; name its folder with --from" >&2; exit 1; }
done
install -d -m 755 "$root$library" "$root$prefix/bin" "$root$units" "$root$sysusers" "$root$tmpfiles"
for name in wachter wachter-launcher wachter-modules; do
    # Beside the old one and then in its place: what runs keeps the file that it runs.
    install -m 755 "$from/$name" "$root$library/.$name.new"
    mv -f "$root$library/.$name.new" "$root$library/$name"
done
ln -sfn ../lib/wachter/wachter "$root$prefix/bin/wachter"
for name in wachter.service wachter-launcher.service; do
    sed "s#/usr/local/lib/wachter/#$library/#g" "$here/systemd/$name" >"$root$units/$name"
    chmod 644 "$root$units/$name"
done
install -m 644 "$here/systemd/sysusers.d/wachter.conf" "$root$sysusers/wachter.conf"
install -m 644 "$here/systemd/tmpfiles.d/wachter.conf" "$root$tmpfiles/wachter.conf"
if [ -d "$from/completions" ]; then
    install -D -m 644 "$from/completions/wachter.bash" "$root$bash"
    install -D -m 644 "$from/completions/_wachter" "$root$zsh"
    install -D -m 644 "$from/completions/wachter.fish" "$root$fish"
fi
if [ -d "$from/man" ]; then
    for page in "$from"/man/*.[1-8]; do
        install -D -m 644 "$page" "$root$share/man/man${page##*.}/${page##*/}"
    done
fi
if [ -z "$root" ]; then
    systemd-sysusers "$sysusers/wachter.conf"
    systemd-tmpfiles --create "$tmpfiles/wachter.conf"
fi
if running; then
    systemctl daemon-reload
fi
cat <<'END'
installed. Next:
  /etc/wachter/node.yaml                               what the owner of this host says
  systemctl enable --now wachter-launcher wachter      start both, now and at boot
  wachter status                                       what the node does
END
