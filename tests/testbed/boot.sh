# Pid 1 of a host, in namespaces of its own: boot.sh DIR. Ends with 42 (poweroff) or 43 (reboot).
set -e
dir=$1 root=$1/root

# /proc is still this machine's: the number by which it knows this process.
read -r pid _ </proc/self/stat
hostname "$(cat "$root/etc/hostname")"

mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755,size=1m dev dev
for node in null zero full random urandom tty; do
    : >dev/$node
    mount --bind /dev/$node dev/$node
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
mkdir -p run/sshd run/lock
# What a machine forgets when it is switched off.
find tmp -mindepth 1 -delete

echo "$pid" >"$dir/pid"
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
cd /

trap 'exit 42' TERM
trap 'exit 43' INT
/usr/sbin/sshd -D -E /var/log/sshd.log &
# Orphans are reaped by the shell; a signal ends the wait.
wait $!
