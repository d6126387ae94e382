#!/bin/sh
# Installs Anklet: fetches the archive for this machine, checks its SHA-256, and places the program and its manual pages.
#
#   curl -fsSL https://raw.githubusercontent.com/veertuinc/anklet/main/install.sh | sh
#   curl -fsSL https://raw.githubusercontent.com/veertuinc/anklet/main/install.sh | sh -s -- --version 0.1.0 --prefix ~/.local
#
# Nothing is placed before everything has been fetched and checked. Configs and queues are never touched.

set -eu

default_base_url=https://github.com/veertuinc/anklet/releases/download

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

usage() {
    cat <<'TEXT'
Usage: install.sh [--version V] [--prefix P] [--dry-run] [--replace]
       install.sh --uninstall [--prefix P] [--dry-run]

  --version V   install this version instead of the latest
  --prefix P    install to P/bin and P/share instead of the first writable of /usr/local and ~/.local
  --dry-run     say what would be done, and do nothing
  --replace     also replace an anklet that this script has not installed, such as the Go program; it is kept as anklet.old
  --uninstall   remove what was installed; configs and queues stay

ANKLET_BASE_URL names another place than GitHub: BASE/vVERSION/ and BASE/latest/ with archives and SHA256SUMS.
TEXT
}

read_arguments() {
    version='' prefix='' is_dry='' is_replacing='' is_uninstalling=''
    while [ $# -gt 0 ]; do
        case $1 in
            --version | --prefix)
                [ -n "${2:-}" ] || fail "$1 needs a value"
                case $1 in
                    --version) version=${2#v} ;;
                    --prefix) prefix=$2 ;;
                esac
                shift
                ;;
            --dry-run) is_dry=yes ;;
            --replace) is_replacing=yes ;;
            --uninstall) is_uninstalling=yes ;;
            -h | --help)
                usage
                exit 0
                ;;
            *)
                usage >&2
                fail "unknown argument \`$1\`"
                ;;
        esac
        shift
    done
    case $version in
        *[!0-9A-Za-z.+-]* | .* | -*) fail "\`$version\` is no version; write it like 0.1.0" ;;
    esac
}

# Which archive this machine needs.
find_machine() {
    os=$(uname -s)
    processor=$(uname -m)
    case $os in
        Darwin)
            os=darwin
            # A shell under Rosetta calls an Apple processor x86_64.
            [ "$(sysctl -n sysctl.proc_translated 2>/dev/null || true)" = 1 ] && processor=arm64
            ;;
        Linux) os=linux ;;
        *) fail "there is no Anklet for $os; it runs on macOS and Linux" ;;
    esac
    case $processor in
        arm64 | aarch64) processor=arm64 ;;
        x86_64 | amd64) processor=amd64 ;;
        *) fail "there is no Anklet for the processor $processor; it runs on arm64 and x86_64" ;;
    esac
}

# Whether files can be made there, now or after making the folders.
is_writable() {
    folder=$1
    while [ ! -e "$folder" ]; do
        folder=$(dirname "$folder")
    done
    [ -d "$folder" ] && [ -w "$folder" ]
}

choose_prefix() {
    if [ -n "$prefix" ]; then
        case $prefix in
            /*) ;;
            *) prefix=$(pwd)/$prefix ;;
        esac
        prefix=${prefix%/}
    elif [ -n "$is_uninstalling" ]; then
        # Where the receipt is.
        prefix=/usr/local
        [ -e "$prefix/$receipt" ] || [ -z "${HOME:-}" ] || [ ! -e "$HOME/.local/$receipt" ] || prefix=$HOME/.local
    elif is_writable /usr/local/bin && is_writable /usr/local/share/man; then
        prefix=/usr/local
    elif [ -n "${HOME:-}" ]; then
        prefix=$HOME/.local
    else
        fail "/usr/local is not writable and HOME is not set; name a folder with --prefix"
    fi
}

choose_source() {
    base_url=${ANKLET_BASE_URL:-$default_base_url}
    base_url=${base_url%/}
    case $base_url in
        https://* | file:///*) ;;
        http://127.0.0.1[:/]* | http://localhost[:/]* | http://127.0.0.1 | http://localhost) ;;
        *) fail "ANKLET_BASE_URL must begin with https:// (or file:///); what comes over an open line cannot be trusted" ;;
    esac
    if [ -n "$version" ]; then
        source_url=$base_url/v$version
    else
        case $base_url in
            */releases/download) source_url=${base_url%/download}/latest/download ;;
            *) source_url=$base_url/latest ;;
        esac
    fi
}

# fetch NAME: from the source into the work folder.
fetch() {
    url=$source_url/$1
    case $url in
        file://*) cp "${url#file://}" "$work/$1" 2>/dev/null && return ;;
        *)
            if have curl; then
                protocols='=https'
                case $url in http://*) protocols='=http' ;; esac
                curl --proto "$protocols" -fsSL --connect-timeout 20 --retry 2 -o "$work/$1" "$url" && return
            elif have wget; then
                wget -q -T 20 -t 3 -O "$work/$1" "$url" && return
            else
                fail "neither curl nor wget is installed"
            fi
            ;;
    esac
    fail "cannot fetch $url; nothing was installed"
}

sha256() {
    if have sha256sum; then
        sha256sum "$1" | cut -c 1-64
    elif have shasum; then
        shasum -a 256 "$1" | cut -c 1-64
    elif have openssl; then
        openssl dgst -sha256 -r "$1" | cut -c 1-64
    else
        fail "no program for SHA-256 (sha256sum, shasum or openssl) is installed, so nothing can be checked"
    fi
}

# Finds the archive's name and checksum; of the latest version the name is known only now.
choose_archive() {
    fetch SHA256SUMS
    name=anklet-$version-$os-$processor.tar.gz
    [ -n "$version" ] || name=$(sed -n "s/^[0-9a-f]\{64\} [ *]\(anklet-[0-9A-Za-z.+-]*-$os-$processor\.tar\.gz\)\$/\1/p" "$work/SHA256SUMS" | head -n 1)
    [ -n "$name" ] || fail "$source_url has no Anklet for $os on $processor; nothing was installed"
    wanted=$(awk -v name="$name" '$2 == name || $2 == "*" name { print $1; exit }' "$work/SHA256SUMS")
    case $wanted in
        *[!0-9a-f]*) wanted='' ;;
    esac
    [ ${#wanted} = 64 ] || fail "$source_url/SHA256SUMS has no checksum for $name; nothing was installed"
    version=${name#anklet-}
    version=${version%"-$os-$processor.tar.gz"}
}

unpack() {
    fetch "$name"
    found=$(sha256 "$work/$name")
    [ "$found" = "$wanted" ] || fail "$name is damaged or forged: its SHA-256 is $found and not $wanted; nothing was installed"
    unpacked=$work/${name%.tar.gz}
    (cd "$work" && tar -xzof "$name") || fail "$name cannot be unpacked; nothing was installed"
    for file in bin/anklet share/man/man1/anklet.1 share/man/man5/anklet.yml.5; do
        if [ ! -f "$unpacked/$file" ] || [ -L "$unpacked/$file" ]; then
            fail "$name lacks $file; nothing was installed"
        fi
    done
    says=$("$unpacked/bin/anklet" --version 2>&1 | head -n 1) || true
    [ "$says" = "$version" ] || fail "the program in $name does not run here, or is another version: it says \`$says\`; nothing was installed"
}

# Whether the program at the target is one that this script has placed.
is_ours() {
    [ -f "$prefix/$receipt" ] && grep -qx bin/anklet "$prefix/$receipt"
}

refuse_foreign() {
    [ -e "$prefix/bin/anklet" ] || return 0
    is_ours && return
    [ -n "$is_replacing" ] || fail "$prefix/bin/anklet is there already and was not installed by this script (the Go program?).
It is left alone. Give --replace to replace it (it is kept as anklet.old), or --prefix for another place."
    is_keeping=yes
}

# Copies everything beside its place, then renames: a file is the old one or the new one, never half of one.
place() {
    staged=$files
    (stage) 2>"$work/why" || fail "cannot write to $prefix: $(head -n 1 "$work/why")
Nothing was installed. Use sudo, or --prefix for a folder of your own."
    if [ -n "$is_keeping" ]; then
        ln -f "$prefix/bin/anklet" "$prefix/bin/anklet.old" 2>/dev/null || cp -p "$prefix/bin/anklet" "$prefix/bin/anklet.old"
    fi
    # The receipt first: a program without one would be taken for another's.
    for file in $files; do
        mv -f "$prefix/$file.new.$$" "$prefix/$file"
    done
    staged=''
}

stage() {
    for file in $files; do
        folder=$(dirname "$prefix/$file")
        mkdir -p "$folder" || exit 1
    done
    for file in $files; do
        if [ -d "$prefix/$file" ]; then
            echo "$prefix/$file is a folder" >&2
            exit 1
        fi
        cp "$unpacked/$file" "$prefix/$file.new.$$" || exit 1
        case $file in
            bin/*) chmod 755 "$prefix/$file.new.$$" || exit 1 ;;
            *) chmod 644 "$prefix/$file.new.$$" || exit 1 ;;
        esac
    done
}

clean() {
    # What is in the way may be a file where a folder should be.
    for file in ${staged:-}; do rm -f "$prefix/$file.new.$$" 2>/dev/null || true; done
    [ -z "${work:-}" ] || rm -rf "$work"
}

tell_next() {
    say "Installed Anklet $version:"
    for file in $files; do
        [ "$file" = "$receipt" ] || say "  $prefix/$file"
    done
    [ -z "$is_keeping" ] || say "The one that was there is kept as $prefix/bin/anklet.old"
    first=$(command -v anklet 2>/dev/null || true)
    call=$prefix/bin/anklet
    if [ "$first" = "$call" ]; then
        call=anklet
    elif [ -z "$first" ]; then
        say "$prefix/bin is not on your PATH; add it, or call $call"
    else
        say "Note: \`anklet\` alone means $first, which is another one and was left alone. Call $call, or put its folder first on the PATH."
    fi
    config=${HOME:-~}/.config/anklet/config.yml
    say ""
    if [ -e "$config" ]; then
        say "Your config $config is as it was. Next: $call check"
        say "A running Anklet goes on with the old program; to change over: kill -QUIT it, wait for its end, start it again."
    else
        say "Next: write $config (see \`man anklet.yml\` and the README), then: $call check"
    fi
}

uninstall() {
    [ -f "$prefix/$receipt" ] || fail "this script has installed nothing in $prefix; name another place with --prefix"
    while IFS= read -r file; do
        case $file in
            '' | /* | *..* | "$receipt") continue ;;
        esac
        if [ -n "$is_dry" ]; then
            say "Would remove $prefix/$file"
        elif [ -e "$prefix/$file" ]; then
            rm -f "$prefix/$file" || fail "cannot remove $prefix/$file; use sudo"
            say "Removed $prefix/$file"
        fi
    done <"$prefix/$receipt"
    [ -n "$is_dry" ] && return
    rm -f "$prefix/$receipt" || fail "cannot remove $prefix/$receipt; use sudo"
    rmdir "$(dirname "$prefix/$receipt")" 2>/dev/null || true
    [ ! -e "$prefix/bin/anklet.old" ] || say "Left alone: $prefix/bin/anklet.old, the program that was there before"
    say "Left alone: configs, queues and logs, in ${HOME:-~}/.config/anklet"
}

main() {
    umask 022
    receipt=share/anklet/installed
    files="$receipt share/man/man1/anklet.1 share/man/man5/anklet.yml.5 bin/anklet"
    is_keeping='' staged='' work=''
    read_arguments "$@"
    choose_prefix
    if [ -n "$is_uninstalling" ]; then
        uninstall
        return
    fi
    find_machine
    choose_source
    refuse_foreign
    if [ -n "$is_dry" ]; then
        say "Would fetch anklet-${version:-LATEST}-$os-$processor.tar.gz from $source_url, check its SHA-256, and write:"
        for file in $files; do say "  $prefix/$file"; done
        return
    fi
    trap clean EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    work=$(mktemp -d "${TMPDIR:-/tmp}/anklet-install.XXXXXX") || fail "cannot make a work folder"
    choose_archive
    unpack
    mkdir -p "$unpacked/share/anklet"
    for file in $files; do printf '%s\n' "$file"; done >"$unpacked/$receipt"
    place
    tell_next
}

# One command, so that a shell that got half of this file does nothing at all.
if :; then main "$@"; fi
