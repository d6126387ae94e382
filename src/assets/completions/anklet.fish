# fish completion for anklet. A test of src/cli.rs keeps both lists in step with the program.
set -l anklet_commands check
complete -c anklet -f
complete -c anklet -n "not __fish_seen_subcommand_from $anklet_commands" -a "$anklet_commands"
complete -c anklet -s c -l c -r -F
complete -c anklet -l config -r -F
complete -c anklet -s h -l h
complete -c anklet -l help
complete -c anklet -l version
