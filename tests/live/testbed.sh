#!/usr/bin/env bash
# testbed.sh - N libvirt hosts on one machine, each in its own namespaces.
#
#   testbed.sh deps          print the apt packages the testbed needs
#   testbed.sh install       install them, QEMU and libvirt from Debian's backports where the release has them
#   testbed.sh guest         build the tiny guest (kernel + initramfs) only
#   testbed.sh up [N]        raise N hosts (default 2) and the fabric; idempotent
#   testbed.sh status        what runs, and the libvirt URIs
#   testbed.sh env           shell variables for a test run (eval "$(testbed.sh env)")
#   testbed.sh run CMD...    run CMD inside the fabric network namespace
#   testbed.sh kill I        power host I off hard (every process of it dies)
#   testbed.sh start I       power host I on again
#   testbed.sh restart-libvirtd I   kill host I's libvirtd; its guests go on, and it is started again
#   testbed.sh lb-kill, lb-start    the load balancer dies, and comes back without its servers
#   testbed.sh down          stop everything this script started and undo it
#   testbed.sh clean         down, and remove the built guest too
#
# A "host" is one libvirtd with its own network, mount, UTS, PID and cgroup
# namespaces, host UUID, configuration and state. Ending a host's PID namespace
# ends its libvirtd and all of its QEMU processes at once, which is also how a
# power failure is simulated. All hosts hang on one bridge in a further network
# namespace, the "fabric", where the load balancer runs. Nothing listens, and
# nothing is routed, outside these namespaces.
#
#   fabric  10.77.0.254   bridge br0, HAProxy :8080, runtime API on a UNIX socket
#   host i  10.77.0.i     bridge br0 (uplink up0), libvirtd by qemu+tcp (no auth), qemu+tls and qemu+ssh
#   guest   10.77.X.Y     for a NIC with MAC address 52:54:00:4d:XX:YY
#
# The testbed is driven from outside over UNIX sockets:
#   qemu+unix:///system?socket=<state>/h1/run/libvirt-sock
# and from inside the fabric with the certificates and the key that it makes (the strangers' are refused):
#   qemu+tls://10.77.0.1/system?pkipath=<state>/pki/driver
#   qemu+ssh://root@10.77.0.1/system?keyfile=<state>/ssh/driver&no_verify=1
#
# Settings (environment): TESTBED_DIR  state directory (default:
# /tmp/foreshade-testbed; keep it short, UNIX socket paths end at 107 characters),
# TESTBED_NAME  prefix of namespace and cgroup names (default: lvtb).

set -euo pipefail

SELF=$(readlink -f "${BASH_SOURCE[0]}")
HERE=$(dirname "$SELF")
DIR=${TESTBED_DIR:-/tmp/foreshade-testbed}
NAME=${TESTBED_NAME:-lvtb}
FABRIC=$NAME-fabric
SUBNET=10.77
export TESTBED_DIR=$DIR TESTBED_NAME=$NAME

# QEMU 7.2 under TCG corrupts a guest that writes memory while it is migrated: 10.0 from backports does not.
BACKPORTS="libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-driver-storage libvirt-clients libvirt-dev qemu-system-x86 qemu-utils"
PACKAGES="haproxy iproute2 util-linux procps openssl openssh-client pkg-config libglib2.0-0 libudev1 libnuma1 liburing2"
# Fetched and unpacked beside the testbed, never installed on the machine:
GUEST_PACKAGES="linux-image-cloud-amd64 busybox-static qemu-guest-agent"
SSHD_PACKAGES="openssh-server libwrap0"

say() { printf '%s\n' "$*" >&2; }
die() { say "testbed: $*"; exit 1; }
hosts() { local d; for d in "$DIR"/h[0-9]*; do [ -d "$d" ] && basename "$d"; done | sort -V; }

# --- processes -------------------------------------------------------------
# A pid file holds "PID STARTTIME": a process is ours only while both match, so
# a reused pid is never signalled.

starttime() {      # empty for a process that is gone or only a zombie
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}'
}
record() { echo "$2 $(starttime "$2")" > "$1"; }
alive() {
    local pid t
    [ -r "$1" ] && read -r pid t < "$1" && [ -n "${t:-}" ] &&
        [ "$(starttime "$pid")" = "$t" ]
}
stop() {   # stop PIDFILE [SIGNAL]
    local pid t i
    if alive "$1"; then
        read -r pid t < "$1"
        kill "-${2:-TERM}" "$pid" 2>/dev/null || true
        for i in $(seq 100); do
            alive "$1" || break
            [ "$i" = 60 ] && kill -KILL "$pid" 2>/dev/null
            sleep 0.05
        done
    fi
    rm -f "$1"
}

# --- guest -----------------------------------------------------------------

build_guest() {
    local g=$DIR/guest w=$DIR/guest/work r pkg kver lib
    [ -s "$g/vmlinuz" ] && [ -s "$g/initramfs.cpio" ] &&
        [ "$g/initramfs.cpio" -nt "$SELF" ] && return 0
    say "building the guest in $g"
    mkdir -p "$w/deb" "$w/x"
    if ! ls "$w"/deb/linux-image-[0-9]*.deb >/dev/null 2>&1; then
        pkg=$(apt-cache depends linux-image-cloud-amd64 |
              awk '/Depends: linux-image/ {print $2; exit}')
        # apt's unprivileged downloader may not write here; that is only a warning
        (cd "$w/deb" && apt-get download -qq "$pkg" \
            busybox-static qemu-guest-agent 2>&1 | grep -v '^W:' >&2 || true)
    fi
    ls "$w"/deb/linux-image-[0-9]*.deb >/dev/null || die "could not download the guest's packages"
    for pkg in "$w"/deb/*.deb; do dpkg -x "$pkg" "$w/x"; done
    kver=$(ls "$w/x/lib/modules" | sort -V | tail -1)
    cp "$w/x/boot/vmlinuz-$kver" "$g/vmlinuz"

    r=$w/root
    rm -rf "$r"
    mkdir -p "$r"/{bin,sbin,lib/modules,lib64,proc,sys,dev,run,tmp,etc,usr/sbin,var/run,www/cgi-bin}
    cp "$w/x/bin/busybox" "$r/bin/busybox"
    ln -s busybox "$r/bin/sh"
    # the agent, with its loader and libraries from this machine
    cp "$w/x/usr/sbin/qemu-ga" "$r/usr/sbin/"
    ldd "$w/x/usr/sbin/qemu-ga" | grep -q 'not found' &&
        die "a library of qemu-ga is missing: install $PACKAGES"
    for lib in $(ldd "$w/x/usr/sbin/qemu-ga" | grep -o '/[^ ]*'); do
        mkdir -p "$r$(dirname "$lib")"
        cp -L "$lib" "$r$lib"
    done
    # modules, numbered in the order in which they must be inserted
    local m n=10
    for m in virtio_pci virtio_mmio virtio_net virtio_console virtio_balloon virtio_mem virtio_blk; do
        guest_module "$m"
    done
    guest_files "$r"
    (cd "$r" && find . | "$w/x/bin/busybox" cpio -o -H newc 2>/dev/null) > "$g/initramfs.tmp"
    mv "$g/initramfs.tmp" "$g/initramfs.cpio"
    say "guest: $(du -h "$g/vmlinuz" | cut -f1) kernel $kver, $(du -h "$g/initramfs.cpio" | cut -f1) initramfs"
}

guest_module() {  # guest_module NAME: copy it after what it depends on (uses w, r, n, kver)
    local src dep
    ls "$r"/lib/modules/*-"$1".ko >/dev/null 2>&1 && return 0
    src=$(find "$w/x/lib/modules/$kver" -name "${1//[-_]/[-_]}.ko*" | head -1)
    [ -n "$src" ] || return 0                        # built into the kernel
    case $src in *.xz) xz -dc "$src" ;; *) cat "$src" ;; esac > "$w/$1.ko"
    for dep in $(tr '\0' '\n' < "$w/$1.ko" | sed -n 's/^depends=//p' | tr , ' '); do
        guest_module "$dep"
    done
    mv "$w/$1.ko" "$r/lib/modules/$n-$1.ko"
    n=$((n + 1))
}

guest_files() {   # guest_files ROOT: the guest's own programs
    local r=$1
    cat > "$r/init" <<'INIT'
#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts; mount -t tmpfs -o size=90% tmpfs /tmp
for m in /lib/modules/*.ko; do insmod "$m" 2>/dev/null; done
ip link set lo up
readdress                        # address from the MAC, see /bin/readdress
httpd -p 80 -h /www
load cpu 0
agent() {                        # the agent's port has no /dev/virtio-ports link: no udev
    while :; do
        for p in /sys/class/virtio-ports/vport*; do
            [ "$(cat "$p/name" 2>/dev/null)" = org.qemu.guest_agent.0 ] || continue
            qemu-ga -m virtio-serial -p "/dev/${p##*/}" -t /var/run
        done
        sleep 1
    done
}
PATH=$PATH:/usr/sbin
agent >/dev/null 2>&1 &
echo "guest up $(cut -d' ' -f1 /proc/uptime)" >/dev/console 2>/dev/null
while :; do sleep 3600; done
INIT
    # 10.77.XX.YY for MAC 52:54:00:4d:XX:YY; a restored clone calls it again after
    # its MAC was changed: readdress [MAC]
    cat > "$r/bin/readdress" <<'RA'
#!/bin/sh
[ -d /sys/class/net/eth0 ] || exit 0
[ -n "$1" ] && { ip link set eth0 down; ip link set eth0 address "$1"; }
mac=$(cat /sys/class/net/eth0/address)
x=$(printf %d 0x$(echo "$mac" | cut -d: -f5)); y=$(printf %d 0x$(echo "$mac" | cut -d: -f6))
ip addr flush dev eth0; ip addr add "10.77.$x.$y/16" brd + dev eth0; ip link set eth0 up
hostname "g-$x-$y"; echo "g-$x-$y" > /www/index.html; echo ok > /www/health
arping -q -U -c 1 -I eth0 "10.77.$x.$y" >/dev/null 2>&1 &
exit 0
RA
    # load cpu PERCENT [BURNERS] | load mem MIB | load dirty MIB | load off
    # (burners are programs of their own: a function in the background would keep the
    # caller's pipe open, and guest-exec would wait for it)
    cat > "$r/bin/load" <<'LD'
#!/bin/sh
start() { k=$1; shift; "$0" "$@" </dev/null >/dev/null 2>&1 & echo $! >> "/run/load.$k"; }
stopall() { for p in $(cat "/run/load.$1" 2>/dev/null); do kill "$p" 2>/dev/null; done; : > "/run/load.$1"; }
clock() { read -r now rest < /proc/uptime; c=${now#*.}; c=${c#0}; t=$(( ${now%.*} * 100 + c )); }
case $1 in
cpu)   stopall cpu; n=${3:-1}
       [ "$2" -gt 0 ] && while [ "$n" -gt 0 ]; do start cpu burn "$2"; n=$((n - 1)); done ;;
mem)   rm -f /tmp/ballast; [ "$2" -gt 0 ] && dd if=/dev/urandom of=/tmp/ballast bs=1M count="$2" 2>/dev/null ;;
dirty) stopall dirty; [ "$2" -gt 0 ] && start dirty rewrite "$2" ;;
off)   stopall cpu; stopall dirty; rm -f /tmp/ballast /tmp/dirty /tmp/source ;;
burn)  while :; do                 # busy for $2 % of every 100 ms
           clock; e=$t
           while [ $((t - e)) -lt $(($2 / 10)) ]; do
               i=0; while [ $i -lt 50 ]; do i=$((i + 1)); done
               clock
           done
           [ "$2" -lt 100 ] && usleep $(((100 - $2) * 1000))
       done ;;
rewrite) n=$(($2 * 16)); k=0       # $2 MiB over and over, other bytes each time
       dd if=/dev/urandom of=/tmp/source bs=64k count=$((n + 16))
       while :; do
           dd if=/tmp/source of=/tmp/dirty bs=64k count=$n skip=$((k % 16)) conv=notrunc
           k=$((k + 1)); echo "rewritten_mib $((k * $2))" > /run/rewritten
           usleep 100000
       done ;;
esac
exit 0
LD
    # GET /cgi-bin/load?cpu+50+2   GET /cgi-bin/stat   GET /cgi-bin/work?2000
    cat > "$r/www/cgi-bin/load" <<'CG'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
set -f; load $(echo "$QUERY_STRING" | tr -cd 'a-z0-9+' | tr + ' ') </dev/null >/dev/null 2>&1; echo ok
CG
    cat > "$r/www/cgi-bin/stat" <<'CG'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
hostname; cat /proc/uptime /proc/loadavg /proc/stat /proc/meminfo /run/rewritten 2>/dev/null
CG
    cat > "$r/www/cgi-bin/work" <<'CG'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
n=$(echo "$QUERY_STRING" | tr -cd 0-9); i=0
while [ $i -lt "${n:-0}" ]; do i=$((i + 1)); done
hostname
CG
    # what qemu-ga's guest-shutdown calls
    printf '#!/bin/sh\n/bin/busybox poweroff -f\n' > "$r/sbin/shutdown"
    echo 'root:x:0:0:root:/:/bin/sh' > "$r/etc/passwd"
    chmod +x "$r/init" "$r/bin/readdress" "$r/bin/load" "$r/sbin/shutdown" "$r"/www/cgi-bin/*
}

# --- transports ------------------------------------------------------------
# One authority signs a certificate for every host and for whoever drives them; a stranger has one of another.

pki() {
    local d=$DIR/pki name
    mkdir -p "$d"
    for name in ca otherca; do
        [ -s "$d/$name.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
            -subj "/CN=$NAME $name" -addext keyUsage=critical,keyCertSign -keyout "$d/$name.key" -out "$d/$name.pem" 2>/dev/null
    done
    certificate driver ca DNS:driver
    certificate stranger otherca DNS:stranger
}
certificate() {    # certificate NAME AUTHORITY ALTERNATIVE_NAMES: a folder as libvirt and QEMU look for it
    local d=$DIR/pki/$1 k
    [ -s "$d/clientcert.pem" ] && return 0
    mkdir -p "$d"
    printf '%s\n' basicConstraints=critical,CA:false keyUsage=critical,digitalSignature,keyEncipherment \
        extendedKeyUsage=serverAuth,clientAuth "subjectAltName=$3" > "$d/ext"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$d/clientkey.pem" \
        -out "$d/csr" 2>/dev/null
    openssl x509 -req -in "$d/csr" -CA "$DIR/pki/$2.pem" -CAkey "$DIR/pki/$2.key" -CAcreateserial -days 3650 \
        -extfile "$d/ext" -out "$d/clientcert.pem" 2>/dev/null
    cat "$DIR/pki/ca.pem" "$DIR/pki/otherca.pem" > "$d/cacert.pem"
    case $1 in h*) cp "$DIR/pki/ca.pem" "$d/cacert.pem" ;; esac   # a host trusts the one authority alone
    for k in "cacert ca-cert" "clientkey serverkey" "clientkey server-key" "clientkey client-key" "clientcert servercert" \
             "clientcert server-cert" "clientcert client-cert"; do
        ln -sf "${k% *}.pem" "$d/${k#* }.pem"
    done
}

ssh_keys() {       # an SSH server, fetched and unpacked beside the testbed, and the keys of it and of who may log in
    local d=$DIR/ssh k
    mkdir -p "$d"
    if [ ! -x "$d/x/usr/sbin/sshd" ]; then
        (cd "$d" && apt-get download -qq $SSHD_PACKAGES >/dev/null 2>&1) || true
        for k in "$d"/*.deb; do [ -e "$k" ] && dpkg -x "$k" "$d/x"; done
        [ -x "$d/x/usr/sbin/sshd" ] || { say "could not download $SSHD_PACKAGES: no qemu+ssh here"; return 0; }
    fi
    for k in driver stranger host; do [ -s "$d/$k" ] || ssh-keygen -q -t ed25519 -N '' -C "$NAME $k" -f "$d/$k"; done
}
ssh_config() {     # ssh_config I
    local d=$DIR/h$1/etc s=$DIR/ssh
    cat > "$d/sshd_config" <<EOC
ListenAddress $SUBNET.0.$1
HostKey $s/host
AuthorizedKeysFile $s/driver.pub
PasswordAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
EOC
    # From release 10 on the server is three programs.
    [ ! -e "$s/x/usr/lib/openssh/sshd-session" ] || echo "SshdSessionPath $s/x/usr/lib/openssh/sshd-session" >> "$d/sshd_config"
    [ ! -e "$s/x/usr/lib/openssh/sshd-auth" ] || echo "SshdAuthPath $s/x/usr/lib/openssh/sshd-auth" >> "$d/sshd_config"
}

# --- cgroups ---------------------------------------------------------------
# Every host gets a cgroup of its own, seen from inside as the root, so that
# /machine/qemu-1-x of one host is not that of another. Version 1 and 2.

cgroup_mounts() {  # the mount points that take part: all of v1, or the v2 root
    if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then echo /sys/fs/cgroup
    else awk '$3 == "cgroup" {print $2}' /proc/self/mounts; fi
}
cgroup_join() {    # put this shell into the host's cgroups
    local m p
    for m in $(cgroup_mounts); do
        p=$m/$NAME/$1
        mkdir -p "$p"
        if [ -f "$m/cpuset.cpus" ] && [ ! -f "$m/cgroup.controllers" ]; then
            for p in "$m/$NAME" "$m/$NAME/$1"; do
                cat "$m/cpuset.cpus" > "$p/cpuset.cpus"; cat "$m/cpuset.mems" > "$p/cpuset.mems"
            done
        elif [ -f "$m/cgroup.controllers" ]; then
            for p in "$m" "$m/$NAME"; do
                for c in cpu cpuset memory io; do echo "+$c" > "$p/cgroup.subtree_control" 2>/dev/null || true; done
            done
        fi
        echo "$BASHPID" > "$m/$NAME/$1/cgroup.procs"
    done
}
cgroup_remove() {  # cgroup_remove PATH: all cgroups below and including it
    local m d
    for m in $(cgroup_mounts); do
        [ -d "$m/$1" ] && find "$m/$1" -depth -type d | while read -r d; do
            for _ in 1 2 3 4 5 6 7 8 9 10; do rmdir "$d" 2>/dev/null && break; sleep 0.1; done
        done
    done
    return 0
}

# --- tc ----------------------------------------------------------------------
# libvirt shapes a guest's NIC with sfq and police, which small kernels lack. There,
# the hosts' libvirtd finds this tc first: a plain queue in place of sfq, and in
# place of police a token bucket on an ifb device to which the traffic is redirected.

tc_shim() {
    local d=$DIR/shim real n=$NAME-tcprobe ok=1
    [ -e "$d/checked" ] && return 0
    mkdir -p "$d"
    real=$(command -v tc) || return 0
    ip netns add "$n"
    ip netns exec "$n" "$real" qdisc add dev lo root sfq perturb 10 2>/dev/null || ok=
    ip netns exec "$n" "$real" qdisc add dev lo ingress 2>/dev/null || ok=
    ip netns exec "$n" "$real" filter add dev lo parent ffff: protocol all u32 match u32 0 0 \
        police rate 1024kbps burst 1024kb mtu 64kb drop flowid :1 2>/dev/null || ok=
    ip netns del "$n"
    : > "$d/checked"
    [ -n "$ok" ] && return 0
    say "this kernel lacks sfq or police: libvirtd gets a tc that stands in for them"
    sed "s|@REAL@|$real|" > "$d/tc" <<'TC'
#!/bin/bash
real=@REAL@ dev='' rate='' burst='' prev=''
for word in "$@"; do
    case $prev in dev) dev=$word ;; rate) rate=$word ;; burst) burst=$word ;; esac
    prev=$word
done
ifb=ifb-$dev
case " $* " in
*" sfq "*)
    args=(); for word in "$@"; do [ "$word" = sfq ] && break; args+=("$word"); done
    exec "$real" "${args[@]}" pfifo limit 127 ;;
*" police "*)
    ip link show "$ifb" >/dev/null 2>&1 || ip link add "$ifb" type ifb
    ip link set "$ifb" up
    "$real" qdisc replace dev "$ifb" root tbf rate "$rate" burst "$burst" latency 200ms &&
    exec "$real" filter add dev "$dev" parent ffff: protocol all u32 match u32 0 0 \
        action mirred egress redirect dev "$ifb" ;;
*" qdisc del "*" ingress "*)
    ip link del "$ifb" 2>/dev/null
    exec "$real" "$@" ;;
*" handle "*" fw "*)   # only for guarantees on libvirt's own networks
    "$real" "$@" 2>/dev/null; exit 0 ;;
*)  exec "$real" "$@" ;;
esac
TC
    chmod +x "$d/tc"
}

# --- hosts -----------------------------------------------------------------

host_config() {    # host_config I
    local i=$1 d=$DIR/h$1 k
    mkdir -p "$d"/{etc,lib,cache,log,run}
    cat > "$d/etc/libvirtd.conf" <<EOC
host_uuid = "4d000000-0000-4000-8000-$(printf %012d "$i")"
listen_tls = 1
listen_tcp = 1
key_file = "/etc/libvirt/pki/serverkey.pem"
cert_file = "/etc/libvirt/pki/servercert.pem"
ca_file = "/etc/libvirt/pki/cacert.pem"
listen_addr = "$SUBNET.0.$i"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
admin_min_workers = 1
keepalive_interval = 5
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
EOC
    # No libvirt-qemu user, AppArmor, udev or virtlogd is needed: QEMU runs as root
    # in the host's namespaces and writes its own log files.
    cat > "$d/etc/qemu.conf" <<EOC
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
stdio_handler = "file"
hugetlbfs_mount = []
set_process_name = 0
migration_address = "$SUBNET.0.$i"
migration_host = "$SUBNET.0.$i"
migrate_tls_x509_cert_dir = "/etc/libvirt/pki"
EOC
    certificate "h$i" ca "DNS:h$i,IP:$SUBNET.0.$i"
    rm -rf "$d/etc/pki"; cp -rL "$DIR/pki/h$i" "$d/etc/pki"
    ssh_config "$i"
    # libvirtd insists on its compiled-in user, which only libvirt-daemon-system
    # creates: give the host's mount namespace a passwd and group that have it.
    cp /etc/passwd /etc/group "$d/etc/"
    grep -q '^libvirt-qemu:' "$d/etc/passwd" ||
        echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >> "$d/etc/passwd"
    grep -q '^libvirt-qemu:' "$d/etc/group" || echo 'libvirt-qemu:x:64055:' >> "$d/etc/group"
    grep -q '^sshd:' "$d/etc/passwd" || echo 'sshd:x:64056:65534::/run/sshd:/usr/sbin/nologin' >> "$d/etc/passwd"
    printf '127.0.0.1 localhost\n' > "$d/etc/hosts"
    for k in $(seq 1 32); do echo "$SUBNET.0.$k h$k"; done >> "$d/etc/hosts"
    printf 'uri_default = "qemu:///system"\n' > "$d/etc/libvirt.conf"
}

fabric_up() {
    [ -e "/run/netns/$FABRIC" ] && return 0
    ip netns add "$FABRIC"
    ip -n "$FABRIC" link set lo up
    ip -n "$FABRIC" link add br0 address 52:54:00:4d:00:fe type bridge stp_state 0 forward_delay 0
    ip -n "$FABRIC" addr add "$SUBNET.0.254/16" dev br0
    ip -n "$FABRIC" link set br0 up
}

host_net() {       # host_net I: its network namespace and uplink
    local ns=$NAME-h$1
    [ -e "/run/netns/$ns" ] && return 0
    ip netns add "$ns"
    ip -n "$ns" link set lo up
    # A bridge without an address of its own takes its lowest port's, so its address
    # would change as guests come and go and break connections, migrations' too.
    ip -n "$ns" link add br0 address "$(printf 52:54:00:4d:00:%02x "$1")" type bridge stp_state 0 forward_delay 0
    ip -n "$ns" link add up0 type veth peer name "port$1" netns "$FABRIC"
    ip -n "$ns" link set up0 master br0 up
    ip -n "$ns" addr add "$SUBNET.0.$1/16" dev br0
    ip -n "$ns" link set br0 up
    ip -n "$FABRIC" link set "port$1" master br0 up
}

host_start() {     # host_start I
    local i=$1 d=$DIR/h$1 pid
    alive "$d/pid" && return 0
    host_config "$i"
    host_net "$i"
    rm -rf "$d/run" "$d/ready"; mkdir -p "$d/run"
    # Empty mount points, left in place afterwards: removing one would silently unmount
    # it in the namespaces of another testbed on this machine.
    mkdir -p /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /run/libvirt /etc/libvirt /run/sshd
    (   cgroup_join "h$i"
        exec setsid nsenter --net="/run/netns/$NAME-h$i" \
            unshare --mount --uts --ipc --pid --cgroup --fork --kill-child=KILL --propagation private \
            bash "$SELF" __host "$i"
    ) </dev/null >"$d/log/console" 2>&1 &
    pid=$!
    record "$d/pid" "$pid"
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then  # v2: no process in an inner cgroup
        mkdir -p "/sys/fs/cgroup/$NAME/ctl"; echo "$pid" > "/sys/fs/cgroup/$NAME/ctl/cgroup.procs"
    fi
    : > "$d/go"
    for _ in $(seq 200); do
        [ -S "$d/run/libvirt-sock" ] &&
            virsh -q -c "$(uri "$i")" list >/dev/null 2>&1 && return 0
        alive "$d/pid" || break
        sleep 0.05
    done
    cat "$d/log/console" >&2; grep -h error "$d/log/libvirtd.log" | tail -n 5 >&2 || true
    die "host $i did not come up"
}

host_main() {      # pid 1 of host I, inside its namespaces
    local i=$1 d=$DIR/h$1 m ctl opts
    while [ ! -e "$d/go" ]; do sleep 0.02; done; rm -f "$d/go"
    hostname "h$i"
    mount -t proc proc /proc
    ctl=$(awk '$3 == "cgroup" {print $2 " " $4}' /proc/self/mounts)
    local v2=; [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] && v2=1
    mount -t sysfs sysfs /sys
    if [ -n "$v2" ]; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        mkdir -p /sys/fs/cgroup/init; echo $$ > /sys/fs/cgroup/init/cgroup.procs
    else
        mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
        echo "$ctl" | while read -r m opts; do
            case $opts in *name=systemd*) opts=none,name=systemd ;;
                *) opts=$(echo "$opts" | tr , '\n' | grep -v -E '^(rw|ro|relatime|nosuid|nodev|noexec|seclabel|xattr|release_agent.*|clone_children)$' | paste -sd,) ;;
            esac
            mkdir -p "$m"; mount -t cgroup -o "$opts" cgroup "$m"
        done
    fi
    mount --bind "$d/etc" /etc/libvirt
    for m in hosts passwd group; do mount --bind "$d/etc/$m" "/etc/$m"; done
    mount --bind "$d/lib" /var/lib/libvirt
    mount --bind "$d/cache" /var/cache/libvirt
    mount --bind "$d/log" /var/log/libvirt
    mount --bind "$d/run" /run/libvirt
    if [ -x "$DIR/ssh/x/usr/sbin/sshd" ]; then
        LD_LIBRARY_PATH=$(dirname "$(find "$DIR/ssh/x" -name 'libwrap.so.0' | head -1)") "$DIR/ssh/x/usr/sbin/sshd" -f "$d/etc/sshd_config" || true
    fi
    while :; do     # as a service manager would: libvirtd that ends is started again, its guests go on
        PATH=$DIR/shim:$PATH libvirtd --listen --pid-file /run/libvirt/libvirtd.pid &
        wait "$!" || true  # as pid 1 this shell also reaps QEMU processes that were orphaned
        sleep 0.5
    done
}

libvirtd_restart() {   # libvirtd_restart I: kill -9 inside the host's namespaces
    local pid t
    read -r pid t < "$DIR/h$1/pid"
    pid=$(cat "/proc/$pid/task/$pid/children"); pid=${pid%% *}
    nsenter --target "$pid" --mount --pid sh -c 'kill -9 "$(cat /run/libvirt/libvirtd.pid)"'
}

host_stop() { stop "$DIR/h$1/pid" KILL; cgroup_remove "$NAME/h$1"; rm -rf "$DIR/h$1/run"; }

uri() { echo "qemu+unix:///system?socket=$DIR/h$1/run/libvirt-sock"; }

# --- load balancer ---------------------------------------------------------

lb_up() {
    local d=$DIR/lb pid
    alive "$d/pid" && return 0
    mkdir -p "$d"
    cat > "$d/haproxy.cfg" <<EOC
global
    stats socket $d/admin.sock mode 600 level admin
    maxconn 500
defaults
    mode http
    timeout connect 2s
    timeout check 2s
    timeout client 10s
    timeout server 10s
    retries 3
    option redispatch 1
    retry-on all-retryable-errors
frontend fe
    bind $SUBNET.0.254:8080
    default_backend app
backend app
    balance roundrobin
    option httpchk GET /health
    default-server inter 500ms fall 2 rise 1
backend search
    balance roundrobin
    option httpchk GET /health
backend mail
    balance roundrobin
    option httpchk GET /health
EOC
    rm -f "$d/admin.sock"
    setsid nsenter --net="/run/netns/$FABRIC" haproxy -db -f "$d/haproxy.cfg" \
        </dev/null >"$d/log" 2>&1 &
    record "$d/pid" $!
    for _ in $(seq 100); do [ -S "$d/admin.sock" ] && return 0; sleep 0.05; done
    cat "$d/log" >&2; die "haproxy did not come up"
}

# --- packages ---------------------------------------------------------------

install_packages() {
    local wait="-o DPkg::Lock::Timeout=300" list=/etc/apt/sources.list.d/foreshade-backports.sources release
    [ "$(id -u)" = 0 ] || die "installing packages needs root"
    export DEBIAN_FRONTEND=noninteractive
    release=$(. /etc/os-release; echo "${VERSION_CODENAME:-}")
    if [ "$release" = bookworm ] && ! apt-cache policy | grep -q bookworm-backports; then
        cat > "$list" <<EOC
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOC
    fi
    apt-get $wait -qq update
    if [ "$release" = bookworm ]; then
        apt-get $wait -qq -y --no-install-recommends -t bookworm-backports install $BACKPORTS
    else
        apt-get $wait -qq -y --no-install-recommends install $BACKPORTS
    fi
    apt-get $wait -qq -y --no-install-recommends install $PACKAGES
}

# --- commands --------------------------------------------------------------

need() {
    local c
    [ "$(id -u)" = 0 ] || die "needs root"
    for c in libvirtd virsh qemu-system-x86_64 ip nsenter unshare haproxy openssl ssh-keygen; do
        command -v "$c" >/dev/null || die "$c is missing; as root: $SELF install"
    done
}

up() {
    local n=${1:-2} i
    need
    mkdir -p "$DIR"
    build_guest
    fabric_up
    tc_shim
    pki
    ssh_keys
    for i in $(seq "$n"); do host_start "$i"; done
    lb_up
    status
}

status() {
    local h i
    for h in $(hosts); do
        i=${h#h}
        if alive "$DIR/$h/pid"; then
            echo "$h up    $(uri "$i")  peer qemu+tcp://$SUBNET.0.$i/system  guests: $(virsh -q -c "$(uri "$i")" list --name 2>/dev/null | grep -c . || true)"
        else echo "$h down"; fi
    done
    if alive "$DIR/lb/pid"; then echo "lb up    http://$SUBNET.0.254:8080 (in netns $FABRIC)  socket $DIR/lb/admin.sock"; else echo "lb down"; fi
}

env_vars() {
    local h u=
    for h in $(hosts); do u="$u $(uri "${h#h}")"; done
    echo "export TESTBED_DIR='$DIR' TESTBED_NETNS='$FABRIC'"
    echo "export TESTBED_URIS='${u# }'"
    echo "export TESTBED_KERNEL='$DIR/guest/vmlinuz' TESTBED_INITRD='$DIR/guest/initramfs.cpio'"
    echo "export TESTBED_HAPROXY='$DIR/lb/admin.sock' TESTBED_FRONTEND='http://$SUBNET.0.254:8080'"
}

down() {
    local h ns
    stop "$DIR/lb/pid"
    for h in $(hosts); do host_stop "${h#h}"; done
    for h in $(hosts); do
        ns=$NAME-$h
        [ -e "/run/netns/$ns" ] && ip netns del "$ns"
        rm -rf "${DIR:?}/$h"
    done
    [ -e "/run/netns/$FABRIC" ] && ip netns del "$FABRIC"
    cgroup_remove "$NAME"
    rm -rf "$DIR/lb" "$DIR/shim" "$DIR/pki"
}

case ${1:-} in
deps)   echo $BACKPORTS $PACKAGES ;;
install) install_packages ;;
guest)  mkdir -p "$DIR"; build_guest ;;
up)     up "${2:-2}" ;;
status) status ;;
env)    env_vars ;;
run)    shift; exec nsenter --net="/run/netns/$FABRIC" "$@" ;;
kill)   host_stop "$2" ;;
start)  need; host_start "$2" ;;
restart-libvirtd) libvirtd_restart "$2" ;;
lb-kill) stop "$DIR/lb/pid" KILL ;;
lb-start) lb_up ;;
down)   down ;;
clean)  down; rm -rf "$DIR/guest" "$DIR/ssh"; rmdir "$DIR" 2>/dev/null || true ;;
__host) host_main "$2" ;;
*)      sed -n '2,/^$/s/^# \{0,1\}//p' "$SELF"; exit 1 ;;
esac
