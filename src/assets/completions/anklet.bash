# bash completion for anklet. A test of src/cli.rs keeps both lists in step with the program.
# It does without what the bash of macOS (3.2) lacks.
_anklet() {
    local commands='check init status why queue drain resume'
    local flags='-c --config --ask-github -h --help --json --owner --port --redis --repo --role --version -y --yes'
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} found word
    COMPREPLY=()
    case $previous in
        -c | --c | --config)
            compopt -o filenames 2>/dev/null
            found=$(compgen -f -- "$current")
            ;;
        --role) found=$(compgen -W 'receiver handler both' -- "$current") ;;
        --owner | --port | --redis | --repo) return ;;
        queue) found=$(compgen -W 'list show retry cancel remove' -- "$current") ;;
        *)
            case $current in
                -*) found=$(compgen -W "$flags" -- "$current") ;;
                *)
                    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
                        case " $commands " in *" $word "*) return ;; esac
                    done
                    found=$(compgen -W "$commands" -- "$current")
                    ;;
            esac
            ;;
    esac
    while IFS= read -r word; do
        [ -z "$word" ] || COMPREPLY+=("$word")
    done <<<"$found"
}
complete -F _anklet anklet
