# bash completion for anklet. A test of src/cli.rs keeps both lists in step with the program.
_anklet() {
    local commands='check init status why queue drain resume'
    local flags='-c --c --config --ask-github -h --h --help --json --owner --port --redis --repo --role --version -y --y --yes'
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $previous in
        -c | --c | --config)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        queue)
            mapfile -t COMPREPLY < <(compgen -W 'list show retry cancel remove' -- "$current")
            return
            ;;
    esac
    case $current in
        -*) mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current") ;;
    esac
}
complete -F _anklet anklet
