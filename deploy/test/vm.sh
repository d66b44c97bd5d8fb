#!/bin/bash
# Boots Debian 12 in QEMU, installs the packages of two versions, and has guest.sh see whether systemd and
# the kernel keep what the units and the jail promise. Needs root (for mmdebstrap), qemu-system-x86,
# mmdebstrap, e2fsprogs and the network. Uses KVM where it works.
# Usage: vm.sh BEFORE PRESENT EXECUTABLES WORK, where WORK keeps what later runs need not make again.
set -euo pipefail
before=$(realpath "$1") present=$(realpath "$2") executables=$(realpath "$3") work=$4
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work" && work=$(realpath "$work")
for program in mmdebstrap qemu-system-x86_64 mkfs.ext4; do
    command -v $program >/dev/null || { echo "vm.sh: $program is missing; install qemu-system-x86, mmdebstrap and e2fsprogs" >&2; exit 1; }
done

if [ ! -f "$work/base.tar" ]; then
    mmdebstrap --mode=root --variant=minbase --aptopt='APT::Sandbox::User "root"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --include=systemd,systemd-sysv,dbus,udev,kmod,linux-image-cloud-amd64,initramfs-tools,git,openssh-client,ca-certificates,perl,procps,util-linux \
        bookworm "$work/base.new.tar" http://deb.debian.org/debian
    mv "$work/base.new.tar" "$work/base.tar"
fi

rm -rf "$work/root" && mkdir "$work/root"
tar -C "$work/root" -xf "$work/base.tar"
cp "$work"/root/boot/vmlinuz-* "$work/vmlinuz"
cp "$work"/root/boot/initrd.img-* "$work/initrd"
install -d "$work/root/opt/wachter"
cp "$before" "$work/root/opt/wachter/before.deb"
cp "$present" "$work/root/opt/wachter/present.deb"
# What is installed without a package manager.
cp -r "$executables" "$work/root/opt/wachter/dist"
cp "$here/guest.sh" "$work/root/opt/wachter/guest.sh"
echo wachter-test >"$work/root/etc/hostname"
printf "127.0.0.1 localhost wachter-test\n" >"$work/root/etc/hosts"
cat >"$work/root/etc/systemd/system/vm-test.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /opt/wachter/guest.sh
TimeoutStartSec=infinity
[Install]
WantedBy=graphical.target
END
install -d "$work/root/etc/systemd/system/graphical.target.wants"
ln -sf ../vm-test.service "$work/root/etc/systemd/system/graphical.target.wants/vm-test.service"
rm -f "$work/disk.img" && truncate -s 2G "$work/disk.img"
mkfs.ext4 -q -F -d "$work/root" "$work/disk.img"
rm -rf "$work/root"

qemu() {
    timeout "$1" qemu-system-x86_64 -accel "$2" -cpu max -m 1024 -smp 2 -nodefaults -no-user-config ${WACHTER_QEMU_OPTIONS:-} \
        -display none -serial stdio -no-reboot -kernel "$work/vmlinuz" -initrd "$work/initrd" "${@:3}" </dev/null | sed -u 's|\r$||'
}

# Some machines have a KVM that opens and does not go: a kernel without a root has to say its name.
accelerator=tcg,thread=multi
if [ -w /dev/kvm ] && qemu 20 kvm -append 'console=ttyS0 panic=-1 root=/dev/none rootwait=1' 2>&1 | grep -qa -m 1 'Linux version'; then
    accelerator=kvm
fi
echo "vm-test: accelerated by $accelerator"
qemu 1800 $accelerator -append 'root=/dev/vda rw console=ttyS0 quiet systemd.show_status=false' \
    -drive "file=$work/disk.img,format=raw,if=virtio" | tee "$work/console.log" | grep --line-buffered -a vm-test: || true
grep -qa 'vm-test: all steps succeeded' "$work/console.log" || { echo "see $work/console.log" >&2; exit 1; }
