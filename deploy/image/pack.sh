#!/bin/sh
# Makes the root file system of the image: pack.sh BINARY FOLDER. The binary, the shared libraries that it loads
# with their licences, certificates, time zones, a user. Nothing else; above all no shell. Runs as root in a
# Debian 12 that has the packages of packages.txt, or installs them.
set -eu
binary=$1
root=$2
here=$(dirname "$0")

say_and_die() {
    echo "pack.sh: $*" >&2
    exit 1
}

ldd "$binary" >/dev/null || say_and_die "$binary is no program that this machine can run"
missing() { ldd "$binary" | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p'; }

if [ -n "$(missing)" ] || [ ! -d /usr/share/ca-certificates/mozilla ] || [ ! -e /usr/share/zoneinfo/UTC ]; then
    command -v apt-get >/dev/null || say_and_die "no apt-get here, and not there: $(missing | tr '\n' ' ')certificates, time zones"
    apt-get update -q
    # shellcheck disable=SC2046 # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(sed '/^#/d' "$here/packages.txt")
    [ -z "$(missing)" ] || say_and_die "not in the packages of packages.txt: $(missing | tr '\n' ' ')"
fi

mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs" "$root/usr/lib/ssl" "$root/usr/share/doc" \
    "$root/var/lib/forebay" "$root/tmp"
cp "$binary" "$root/usr/local/bin/forebay"
chmod 0755 "$root/usr/local/bin/forebay"

# "name => path (address)" of each library, "path (address)" of the loader.
libraries=$(ldd "$binary" | sed -n 's/^[^/]*\(\/[^ ]*\) (.*/\1/p')
for library in $libraries; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
    chmod 0755 "$root$library"
    # The packages' files are named below /lib or /usr/lib: Debian 12 has both for one folder.
    package=$(dpkg -S "$library" "/usr$library" "${library#/usr}" 2>/dev/null | sed 's/:.*//;q') || true
    if [ -n "$package" ] && [ -e "/usr/share/doc/$package/copyright" ]; then
        mkdir -p "$root/usr/share/doc/$package"
        cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
    fi
done
mkdir -p "$root/usr/share/doc/forebay"
cp "$here/LICENSE" "$root/usr/share/doc/forebay/copyright"

# From the package and not from /etc/ssl/certs, where the machine that builds may have added its own.
cat /usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"

cp -r /usr/share/zoneinfo "$root/usr/share/"
rm -rf "$root/usr/share/zoneinfo/posix" "$root/usr/share/zoneinfo/right"

echo 'forebay:x:65532:65532::/var/lib/forebay:/sbin/nologin' >"$root/etc/passwd"
echo 'forebay:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chown 65532:65532 "$root/var/lib/forebay"
chmod 1777 "$root/tmp"
# The same sources give the same files.
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
