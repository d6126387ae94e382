# fish completion for anklet. A test of src/cli.rs keeps both lists in step with the program.
set -l anklet_commands check init status why queue drain resume
complete -c anklet -f
complete -c anklet -n "not __fish_seen_subcommand_from $anklet_commands" -a "$anklet_commands"
complete -c anklet -s c -l c -r -F
complete -c anklet -l config -r -F
complete -c anklet -s h -l h
complete -c anklet -l help
complete -c anklet -l json
complete -c anklet -l ask-github
complete -c anklet -l owner -r
complete -c anklet -l port -r
complete -c anklet -l redis -r
complete -c anklet -l repo -r
complete -c anklet -l role -r -a "receiver handler both"
complete -c anklet -l version
complete -c anklet -s y -l y
complete -c anklet -l yes
complete -c anklet -n "__fish_seen_subcommand_from queue" -a "list show retry cancel remove"
