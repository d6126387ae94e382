//! The completions in the real shells: what each offers for a line that is not finished.

use std::fs;
use std::process::Stdio;

use crate::install::{have, text};
use crate::support::{Home, bare};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/assets/completions");
const COMMANDS: &str = "check drain init queue resume status why";
const ACTIONS: &str = "cancel list remove retry show";

/// What must be offered, sorted, for each unfinished line.
const EXPECTED: [(&str, &str); 10] = [
    ("anklet ", COMMANDS),
    ("anklet s", "status"),
    ("anklet -c my.yml ", COMMANDS),
    ("anklet queue ", ACTIONS),
    ("anklet queue re", "remove retry"),
    ("anklet why ", ""),
    ("anklet --ver", "--version"),
    ("anklet init --role ", "both handler receiver"),
    ("anklet init --owner ", ""),
    ("anklet -c my", "my config.yml"),
];

/// The program that plays this shell, in a folder with a config. `script` writes `LINE …` and below it what is offered, a line each.
#[track_caller]
fn check(shell: &str, arguments: &[&str], script: &str) {
    if !have(shell) {
        println!("SKIPPED: {shell} is not installed, so its completion was not tried");
        return;
    }
    let home = Home::new();
    fs::write(home.path().join("my config.yml"), "").unwrap();
    // zsh begins with what this says, in a terminal of its own.
    fs::write(home.path().join(".zshrc"), ZSH).unwrap();
    let mut command = bare(shell);
    command.args(arguments).arg(script).current_dir(home.path()).stdin(Stdio::null());
    let lines: Vec<_> = EXPECTED.iter().map(|(line, _)| *line).collect();
    command.env("HOME", home.path()).env("ZDOTDIR", home.path()).env("PATH", "/usr/bin:/bin:/usr/local/bin");
    command
        .env("COMPLETIONS", FOLDER)
        .env("LINES_TO_TRY", lines.join("\n"))
        .env("OUT", home.path().join("out"));
    command.env("TERM", "dumb").env("LC_ALL", "C");
    let said = text(&command.output().unwrap());
    let out = fs::read_to_string(home.path().join("out")).unwrap_or_default();
    for (line, expected) in EXPECTED {
        let offered = out.split("LINE ").find_map(|part| part.strip_prefix(line)?.strip_prefix('\n'));
        let offered = offered.unwrap_or_else(|| panic!("{shell} was not asked for `{line}`: {said}\n{out}"));
        let mut offered: Vec<_> = offered.lines().map(|word| word.replace('\\', "")).collect();
        offered.sort();
        offered.dedup();
        assert_eq!(offered.join(" "), expected, "{shell}: `{line}`");
    }
}

#[test]
fn bash_completes() {
    const SCRIPT: &str = r#"
        source "$COMPLETIONS/anklet.bash"
        complete -p anklet | grep -q ' -F _anklet ' || exit 1
        while IFS= read -r line; do
            read -ra COMP_WORDS <<<"$line"
            case $line in *' ') COMP_WORDS+=('') ;; esac
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _anklet
            printf 'LINE %s\n' "$line"
            for word in "${COMPREPLY[@]}"; do printf '%s\n' "$word"; done
        done <<<"$LINES_TO_TRY" >"$OUT""#;
    check("bash", &["--norc", "--noprofile", "-c"], SCRIPT);
}

#[test]
fn fish_completes() {
    const SCRIPT: &str = r#"
        source $COMPLETIONS/anklet.fish
        for line in (string split \n -- $LINES_TO_TRY)
            echo "LINE $line"
            complete -C $line | string replace -r '\t.*' ''
        end >$OUT"#;
    check("fish", &["--no-config", "-c"], SCRIPT);
}

/// What the zsh on the terminal does: it completes each line as if Tab had been pressed, and writes down what is offered.
const ZSH: &str = r#"
    # One that hangs ends.
    TMOUT=30
    TRAPALRM() { exit 1 }
    PS1=
    fpath=($COMPLETIONS $fpath)
    autoload -Uz compinit && compinit -u -D
    compadd() {
        local -a found
        builtin compadd -O found "$@"
        (( $#found )) && print -rl -- $found >>$OUT
        builtin compadd "$@"
    }
    zle-line-init() {
        local line
        for line in "${(@f)LINES_TO_TRY}"; do
            print -r -- "LINE $line" >>$OUT
            BUFFER=$line CURSOR=$#line
            zle complete-word
        done
        exit
    }
    zle -N zle-line-init
"#;

#[test]
fn zsh_completes() {
    const SCRIPT: &str =
        "zmodload zsh/zpty && zpty z zsh -d -i && while zpty -r z line; do print -r -- $line; done";
    check("zsh", &["-fc"], SCRIPT);
}
