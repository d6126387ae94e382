#!/bin/sh
# Installs Anklet: fetches the archive for this machine, checks its SHA-256, and places the program, its manual pages and its completions.
#
#   curl -fsSL https://raw.githubusercontent.com/veertuinc/anklet/main/install.sh | sh
#   curl -fsSL https://raw.githubusercontent.com/veertuinc/anklet/main/install.sh | sh -s -- --version 0.1.0 --prefix ~/.local
#
# Nothing is placed before everything has been fetched and checked. A config or queue that is there is never touched.

set -eu

default_base_url=https://github.com/veertuinc/anklet/releases/download

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
warn() { printf 'install.sh: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

usage() {
    cat <<'TEXT'
Usage: install.sh [--version V] [--prefix P] [--service] [--dry-run] [--replace]
       install.sh --uninstall [--prefix P] [--dry-run]

  --version V   install this version instead of the latest
  --prefix P    install to P/bin and P/share instead of where it is, else the first writable of
                /usr/local and ~/.local
  --service     also start Anklet at every boot: on macOS a LaunchAgent of this user, whose VMs are used; on Linux, as root, a systemd unit
  --dry-run     say what would be done, and do nothing
  --replace     also replace an anklet that this script has not installed, such as the Go program; it is kept as anklet.old
                With --service, the Go program's service too
  --uninstall   remove what was installed, the service too; configs and queues stay

ANKLET_BASE_URL names another place than GitHub: BASE/vVERSION/ and BASE/latest/ with archives and SHA256SUMS.
DESTDIR goes before every path outside of the prefix, and no service is started then.
TEXT
}

read_arguments() {
    version='' prefix='' is_dry='' is_replacing='' is_uninstalling='' is_service=''
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
            --service) is_service=yes ;;
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

# Where it is already, so that an upgrade makes no second one. A service of a Mac needs one that its user may write.
find_installed() {
    for folder in /usr/local ${HOME:+"$HOME/.local"}; do
        [ -e "$folder/$receipt" ] || continue
        prefix=$folder
        [ -n "$is_service" ] && [ ! -w "$folder/bin" ] || return 0
    done
    prefix=''
    return 1
}

choose_prefix() {
    if [ -n "$prefix" ]; then
        case $prefix in
            /*) ;;
            *) prefix=$(pwd)/$prefix ;;
        esac
        prefix=${prefix%/}
    elif find_installed; then
        :
    elif [ -n "$is_uninstalling" ]; then
        prefix=/usr/local
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
        http://*@*) fail "ANKLET_BASE_URL names a user, which only https:// may" ;;
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
    for file in $files; do
        [ "$file" != "$receipt" ] || continue
        if [ ! -f "$unpacked/$file" ] || [ -L "$unpacked/$file" ]; then
            fail "$name lacks $file; nothing was installed"
        fi
    done
    says=$("$unpacked/bin/anklet" --version 2>&1 | head -n 1) || true
    case $says in
        "$version") ;;
        *"ermission denied"*) fail "no program may run in $work; set TMPDIR to a folder where one may. Nothing was installed" ;;
        *) fail "the program in $name does not run here, or is another version: it says \`$says\`; nothing was installed" ;;
    esac
}

# Whether the program at the target is one that this script has placed.
is_ours() {
    [ -f "$prefix/$receipt" ] && grep -qx bin/anklet "$prefix/$receipt"
}

refuse_foreign() {
    [ -e "$prefix/bin/anklet" ] || return 0
    was_there=yes
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

# Where this machine keeps services, and whether it may have ours.
choose_service() {
    case $os in
        darwin)
            unit=${DESTDIR:-}${HOME:-}/Library/LaunchAgents/$label.plist
            [ -z "$is_service" ] && return
            [ -n "${HOME:-}" ] || fail "HOME is not set; the service belongs to the user whose home has the VMs"
            [ "$(id -u)" != 0 ] || [ -n "${DESTDIR:-}" ] ||
                fail "run this as the user whose VMs \`anka list\` shows, without sudo: VMs start only in that user's login session. --prefix ~/.local needs no root"
            [ ! -e "$go_daemon" ] || [ -n "$is_replacing" ] ||
                fail "$go_daemon would start the Go program at every boot beside Anklet, and both would take jobs.
Remove it (sudo launchctl bootout system $go_daemon; sudo rm $go_daemon), or give --replace. Nothing was installed."
            ;;
        linux)
            unit=${DESTDIR:-}/etc/systemd/system/anklet.service
            [ -z "$is_service" ] && return
            [ "$(id -u)" = 0 ] || [ -n "${DESTDIR:-}" ] || fail "a systemd unit needs root; use sudo. Nothing was installed."
            have systemctl || [ -n "${DESTDIR:-}" ] || fail "there is no systemd here; start \`anklet\` with what this machine has. Nothing was installed."
            case $prefix in
                *[!0-9A-Za-z/._+-]*) fail "a systemd unit cannot name the folder $prefix; choose one of plain letters with --prefix" ;;
            esac
            ;;
    esac
}

# The service uses this config, on macOS and without a service the one of this user.
choose_config() {
    if [ "$os" = linux ] && { [ -n "$is_service" ] || grep -qsF "$prefix/bin/anklet" "$unit"; }; then
        config=${DESTDIR:-}/etc/anklet/config.yml
    else
        config=${HOME:+$HOME/.config/anklet/config.yml}
    fi
}

# One with comments, if there is none. Under sudo it would belong to root in the home of another.
write_first_config() {
    is_config_new=''
    [ -n "$config" ] && [ ! -e "$config" ] || return 0
    [ -n "$is_service" ] || [ -z "${SUDO_USER:-}" ] || return 0
    if (
        umask 077
        mkdir -p "$(dirname "$config")" && cp "$unpacked/share/anklet/config.yml" "$config.new.$$" && mv -f "$config.new.$$" "$config"
    ) 2>"$work/why"; then
        is_config_new=yes
    else
        rm -f "$config.new.$$" 2>/dev/null || true
        warn "cannot write a first $config: $(head -n 1 "$work/why")"
    fi
}

# The unit with the paths of this machine, to standard output.
fill_in() {
    anklet=$prefix/bin/anklet config=$config home=${HOME:-} awk '
        function put(word, value,    at) {
            while ((at = index($0, word)) > 0) $0 = substr($0, 1, at - 1) value substr($0, at + length(word))
        }
        function xml(text) { gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text); return text }
        { put("@ANKLET@", xml(ENVIRON["anklet"])); put("@CONFIG@", xml(ENVIRON["config"])); put("@HOME@", xml(ENVIRON["home"])); print }' "$1"
}

install_service() {
    if [ "$os" = darwin ]; then source=$unpacked/share/anklet/$label.plist; else source=$unpacked/share/anklet/anklet.service; fi
    if [ "$os" = darwin ] && [ -e "$go_daemon" ]; then
        as_admin=''
        if [ -z "${DESTDIR:-}" ]; then
            say "Taking away the Go program's service, which needs an administrator:"
            as_admin=sudo
            sudo launchctl bootout system "$go_daemon" 2>/dev/null || true
        fi
        $as_admin mv -f "$go_daemon" "$go_daemon.old" || fail "cannot move $go_daemon away; Anklet is installed, its service is not"
        say "The Go program's service is kept as $go_daemon.old"
    fi
    [ "$os" != darwin ] || mkdir -p "${DESTDIR:-}$HOME/Library/Logs"
    if ! { mkdir -p "$(dirname "$unit")" && fill_in "$source" >"$unit.new.$$" && chmod 644 "$unit.new.$$" && mv -f "$unit.new.$$" "$unit"; } 2>"$work/why"; then
        rm -f "$unit.new.$$" 2>/dev/null || true
        fail "cannot write $unit: $(head -n 1 "$work/why"). Anklet is installed, its service is not"
    fi
    if [ -z "${DESTDIR:-}" ]; then "start_on_$os"; fi
    say "Installed the service $unit"
}

start_on_darwin() {
    # Again, if there was one: a soft stop, running jobs go on. It is refused while the old one still stops (ExitTimeOut).
    launchctl bootout "gui/$(id -u)/$label" 2>/dev/null || true
    n_looks=0
    while [ "$n_looks" -lt 40 ] && launchctl print "gui/$(id -u)/$label" >/dev/null 2>&1; do
        sleep 1
        n_looks=$((n_looks + 1))
    done
    [ -z "$is_config_new" ] || return 0
    launchctl bootstrap "gui/$(id -u)" "$unit" || fail "launchctl refuses $unit; is $(id -un) logged in at this Mac's screen? Anklet is installed"
}

start_on_linux() {
    id anklet >/dev/null 2>&1 || useradd --system --home-dir /var/lib/anklet --shell /usr/sbin/nologin anklet ||
        fail "cannot make the user anklet; Anklet is installed, its service does not run"
    chown -R root:anklet /etc/anklet && chmod 750 /etc/anklet && chmod 640 "$config"
    systemctl daemon-reload
    systemctl enable --quiet anklet
    [ -n "$is_config_new" ] || systemctl restart anklet
}

remove_service() {
    [ -e "$unit" ] && grep -qF "$prefix/bin/anklet" "$unit" || return 0
    if [ -n "$is_dry" ]; then
        say "Would remove the service $unit"
        return
    fi
    if [ -z "${DESTDIR:-}" ]; then
        case $os in
            darwin) launchctl bootout "gui/$(id -u)/$label" 2>/dev/null || true ;;
            linux) systemctl disable --now --quiet anklet || true ;;
        esac
    fi
    rm -f "$unit" || fail "cannot remove $unit; use sudo"
    if [ -z "${DESTDIR:-}" ] && [ "$os" = linux ]; then systemctl daemon-reload || true; fi
    say "Removed the service $unit"
}

clean() {
    # What is in the way may be a file where a folder should be.
    for file in ${staged:-}; do rm -f "$prefix/$file.new.$$" 2>/dev/null || true; done
    [ -z "${work:-}" ] || rm -rf "$work"
}

# One file may have several paths: a slash more, a link.
inode() {
    # shellcheck disable=SC2012 # only the number is taken
    ls -Li "$1" 2>/dev/null | awk '{ print $1 }'
}

tell_next() {
    say "Installed Anklet $version:"
    for file in $files; do
        [ "$file" = "$receipt" ] || say "  $prefix/$file"
    done
    [ -z "$is_keeping" ] || say "The one that was there is kept as $prefix/bin/anklet.old"
    first=$(command -v anklet 2>/dev/null || true)
    call=anklet
    if [ -z "$first" ]; then
        say "$prefix/bin is not on your PATH. Type this, and put it into the file that your shell reads first (~/.zprofile, ~/.profile):"
        say "  export PATH=\"$prefix/bin:\$PATH\""
    elif [ "$(inode "$first")" != "$(inode "$prefix/bin/anklet")" ]; then
        say "Note: \`anklet\` alone means $first, which is another one and was left alone. Call $prefix/bin/anklet, or put its folder first on the PATH."
        call=$prefix/bin/anklet
    fi
    case ${SHELL:-}:$prefix in
        */zsh:/usr/local) ;;
        # It looks into /usr/local by itself; the other shells look into ~/.local too.
        */zsh:*)
            say "For completion in zsh put this into ~/.zshrc, before compinit:"
            say "  fpath=(\"$prefix/share/zsh/site-functions\" \$fpath)"
            ;;
    esac
    say ""
    # The program looks in the home of its user by itself.
    with=''
    [ "$config" = "${HOME:-}/.config/anklet/config.yml" ] || with=" -c $config"
    if [ -z "$config" ] || [ ! -e "$config" ]; then
        say "Next: $call init, which asks a few questions and writes the config; then: $call check"
    elif [ -n "$is_config_new" ]; then
        say "Wrote a first $config with comments. Next: $call init$with, which asks a few questions and fills it; then: $call check$with"
        if [ -n "$is_service" ]; then
            case $os in
                darwin) say "Then start the service: launchctl bootstrap gui/$(id -u) $unit" ;;
                linux) say "Then start the service: systemctl start anklet" ;;
            esac
        fi
    else
        say "Your config $config is as it was. Next: $call check$with"
    fi
    [ -n "$was_there" ] && [ -z "$is_service" ] || return 0
    if grep -qsF "$prefix/bin/anklet" "$unit"; then
        say "The service goes on with the old program. To change over, run this again with --service. Running jobs do not notice."
    else
        say "An Anklet that runs goes on with the old program. To change over, stop it (Ctrl-C or SIGTERM) and start it again. Running jobs do not notice."
    fi
}

uninstall() {
    [ -f "$prefix/$receipt" ] || fail "this script has installed nothing in $prefix; name another place with --prefix"
    remove_service
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
    for mine in "${HOME:-}/.config/anklet" "${HOME:-}/Library/Logs/anklet.log" "${DESTDIR:-}/etc/anklet" "${DESTDIR:-}/var/lib/anklet"; do
        [ ! -e "$mine" ] || say "Left alone, since configs, queues and logs are yours: $mine"
    done
}

main() {
    umask 022
    receipt=share/anklet/installed
    label=com.veertu.anklet.agent
    go_daemon=${DESTDIR:-}/Library/LaunchDaemons/com.veertu.anklet.plist
    files="$receipt share/man/man1/anklet.1 share/man/man5/anklet.yml.5 share/man/man7/anklet-plugins.7
        share/anklet/config.yml share/anklet/anklet.service share/anklet/$label.plist
        share/bash-completion/completions/anklet share/zsh/site-functions/_anklet share/fish/vendor_completions.d/anklet.fish bin/anklet"
    is_keeping='' staged='' work='' config='' is_config_new='' was_there=''
    read_arguments "$@"
    choose_prefix
    find_machine
    choose_service
    if [ -n "$is_uninstalling" ]; then
        uninstall
        return
    fi
    choose_source
    choose_config
    refuse_foreign
    if [ -n "$is_dry" ]; then
        say "Would fetch anklet-${version:-LATEST}-$os-$processor.tar.gz from $source_url, check its SHA-256, and write:"
        for file in $files; do say "  $prefix/$file"; done
        [ -z "$config" ] || [ -e "$config" ] || say "  $config, a first config with comments"
        [ -z "$is_service" ] || say "  $unit, the service"
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
    write_first_config
    [ -z "$is_service" ] || install_service
    tell_next
}

# One command, so that a shell that got half of this file does nothing at all.
if :; then main "$@"; fi
