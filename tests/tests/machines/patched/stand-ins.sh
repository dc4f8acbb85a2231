#!/usr/bin/env bash
# Stand-ins for versions of Debian's Dovecot that are not there yet, and for what package/dovecot/build makes of them:
# Debian's newest one, under another version. Of names and versions apt and the playbook see no difference.
#
#   stand-ins.sh fetch PACKAGE...           get Debian's packages, and say their version
#   stand-ins.sh make VERSION FOLDER        lay the stand-ins of this version into an empty folder
#   stand-ins.sh publish VERSION SUITE      Debian's security archive (a local one) has this version from now on
set -euo pipefail
fetched=/srv/debian archive=/srv/archive

make_them() {
    local version=$1 folder=$2 deb name old work
    work=$(mktemp -d)
    rm -rf "$folder"
    mkdir -p "$folder"
    for deb in "$fetched"/*.deb; do
        name=$(dpkg-deb --field "$deb" Package)
        old=$(dpkg-deb --field "$deb" Version)
        dpkg-deb --raw-extract "$deb" "$work/$name"
        # They want each other in the same version.
        sed -i -e "s/^Version: .*/Version: $version/" -e "s/(= ${old//./\\.})/(= $version)/g" "$work/$name/DEBIAN/control"
        dpkg-deb -Znone --build "$work/$name" "$folder/${name}_${version#*:}_$(dpkg --print-architecture).deb" >&2
    done
    rm -rf "$work"
}

case $1 in
fetch)
    mkdir -p "$fetched"
    cd "$fetched"
    apt-get update --quiet >&2
    apt-get download --quiet "${@:2}" >&2
    dpkg-deb --field dovecot-core_*.deb Version
    ;;
make) make_them "$2" "$3" ;;
publish)
    version=$2 suite=$3-security
    part=main/binary-$(dpkg --print-architecture)
    make_them "$version" "$archive/pool"
    mkdir -p "$archive/dists/$suite/$part"
    cd "$archive"
    for deb in pool/*.deb; do
        dpkg-deb --field "$deb"
        printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" \
            "$(sha256sum "$deb" | cut -d ' ' -f 1)"
    done >"dists/$suite/$part/Packages"
    cd "dists/$suite"
    {
        printf 'Origin: Debian\nLabel: Debian-Security\nSuite: %s\nCodename: %s\n' "$suite" "$suite"
        printf 'Date: %s\nSHA256:\n %s %s %s/Packages\n' "$(date -Ru)" \
            "$(sha256sum "$part/Packages" | cut -d ' ' -f 1)" "$(stat -c %s "$part/Packages")" "$part"
    } >Release
    echo "deb [trusted=yes] file:$archive $suite main" >/etc/apt/sources.list.d/archive.list
    apt-get update --quiet >&2
    ;;
esac
