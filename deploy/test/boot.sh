#!/bin/bash
# Boots Debian 12 in QEMU with the executables of a folder, and has guest.sh see whether systemd keeps
# them as their units promise. Needs root (for mmdebstrap), qemu-system-x86, mmdebstrap, e2fsprogs and the
# network; no KVM. Usage: boot.sh EXECUTABLES WORK, where WORK keeps what later runs need not make again.
set -euo pipefail
executables=$(realpath "$1") work=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work" && work=$(realpath "$work")
for program in mmdebstrap qemu-system-x86_64 mkfs.ext4; do
    command -v $program >/dev/null || { echo "boot.sh: $program is missing; install qemu-system-x86, mmdebstrap and e2fsprogs" >&2; exit 1; }
done

if [ ! -f "$work/base.tar" ]; then
    mmdebstrap --mode=root --variant=minbase --aptopt='APT::Sandbox::User "root"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --include=systemd,systemd-sysv,dbus,udev,kmod,linux-image-cloud-amd64,initramfs-tools,git,openssh-client,ca-certificates,procps,util-linux \
        bookworm "$work/base.new.tar" http://deb.debian.org/debian
    mv "$work/base.new.tar" "$work/base.tar"
fi

rm -rf "$work/root" && mkdir "$work/root"
tar -C "$work/root" -xf "$work/base.tar"
cp "$work"/root/boot/vmlinuz-* "$work/vmlinuz"
cp "$work"/root/boot/initrd.img-* "$work/initrd"
install -d "$work/root/opt/wachter"
for name in wachter wachter-launcher wachter-modules; do
    install -m 755 "$executables/$name" "$work/root/opt/wachter/$name"
    strip "$work/root/opt/wachter/$name"
done
# As what is shipped has them.
install -d "$work/root/opt/wachter/completions"
"$executables/wachter" completions bash >"$work/root/opt/wachter/completions/wachter.bash"
"$executables/wachter" completions zsh >"$work/root/opt/wachter/completions/_wachter"
"$executables/wachter" completions fish >"$work/root/opt/wachter/completions/wachter.fish"
"$executables/wachter" man --directory "$work/root/opt/wachter/man" >/dev/null
cp "$here/../man/wachter-launcher.8" "$work/root/opt/wachter/man/"
cp -r "$here/.." "$work/root/opt/wachter/deploy"
echo wachter-test >"$work/root/etc/hostname"
printf "127.0.0.1 localhost wachter-test\n" >"$work/root/etc/hosts"
cat >"$work/root/etc/systemd/system/boot-test.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /opt/wachter/deploy/test/guest.sh
TimeoutStartSec=infinity
[Install]
WantedBy=graphical.target
END
install -d "$work/root/etc/systemd/system/graphical.target.wants"
ln -sf ../boot-test.service "$work/root/etc/systemd/system/graphical.target.wants/boot-test.service"
rm -f "$work/disk.img" && truncate -s 2G "$work/disk.img"
mkfs.ext4 -q -F -d "$work/root" "$work/disk.img"
rm -rf "$work/root"

# Without KVM, so that it is the same everywhere; some machines have one that does not go.
timeout 1200 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 1024 -smp 2 -nodefaults -no-user-config \
    ${WACHTER_QEMU_OPTIONS:-} -display none -serial stdio -no-reboot -kernel "$work/vmlinuz" -initrd "$work/initrd" \
    -append 'root=/dev/vda rw console=ttyS0 quiet systemd.show_status=false' \
    -drive "file=$work/disk.img,format=raw,if=virtio" </dev/null | sed -u 's|\r$||' | tee "$work/console.log" | grep --line-buffered -a boot-test: || true
grep -qa 'boot-test: all steps succeeded' "$work/console.log" || { echo "see $work/console.log" >&2; exit 1; }
