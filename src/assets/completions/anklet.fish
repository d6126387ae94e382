# fish completion for anklet. A test of src/cli.rs keeps both lists in step with the program.
set -l anklet_commands check init status why queue drain resume
complete -c anklet -f
complete -c anklet -n "not __fish_seen_subcommand_from $anklet_commands" -a "$anklet_commands"
complete -c anklet -s c -l config -r -F
complete -c anklet -s h -l help
complete -c anklet -l json
complete -c anklet -l ask-github
complete -c anklet -l owner -x
complete -c anklet -l port -x
complete -c anklet -l redis -x
complete -c anklet -l repo -x
complete -c anklet -l role -x -a "receiver handler both"
complete -c anklet -l version
complete -c anklet -s y -l yes
complete -c anklet -n "__fish_seen_subcommand_from queue; and not __fish_seen_subcommand_from list show retry cancel remove" -a "list show retry cancel remove"
