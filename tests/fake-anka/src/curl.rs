//! A guest's `curl`: serves files from the host's `downloads` folder by their name, and really fetches plain HTTP.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::args::{Args, Spec};
use crate::http;
use crate::tools::guest_world;

const CURL: Spec = Spec {
    flags: &[
        &["-f", "--fail"],
        &["-L", "--location"],
        &["-O", "--remote-name"],
        &["-s", "--silent"],
        &["-S", "--show-error"],
        &["-#", "--progress-bar"],
        &["--retry-all-errors"],
        &["--retry-connrefused"],
        &["--fail-with-body"],
        &["--no-progress-meter"],
        &["--tlsv1.2"],
    ],
    values: &[
        &["-o", "--output"],
        &["--output-dir"],
        &["--retry"],
        &["--retry-delay"],
        &["--retry-max-time"],
        &["--connect-timeout"],
        &["-m", "--max-time"],
        &["-H", "--header"],
        &["--proto"],
        &["-C", "--continue-at"],
    ],
    command: false,
};
const MOST_REDIRECTS: usize = 10;

/// Exit codes are curl's own: 2 usage, 6 no such host, 7 no connection, 22 an HTTP error with `-f`, 23 no writing.
pub(crate) fn main(argv: &[String]) -> u8 {
    let args = match Args::parse(&CURL, &spread(argv)) {
        Ok(args) => args,
        Err(usage) => return complain(2, &usage),
    };
    let url = match args.positional.as_slice() {
        [url] => url.clone(),
        _ => return complain(2, "one address, please"),
    };
    match fetch(&args, &url) {
        Ok(()) => 0,
        Err((code, text)) => complain(code, &text),
    }
}

fn complain(code: u8, text: &str) -> u8 {
    eprintln!("curl: ({code}) {text}");
    code
}

/// Puts the letters of `-fsSLo FILE` into words of their own.
fn spread(argv: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for word in argv {
        match word.strip_prefix('-') {
            Some(letters) if !letters.starts_with('-') && letters.len() > 1 => {
                words.extend(letters.chars().map(|letter| format!("-{letter}")));
            }
            _ => words.push(word.clone()),
        }
    }
    words
}

type Trouble = (u8, String);

fn fetch(args: &Args, url: &str) -> Result<(), Trouble> {
    let name = url.rsplit('/').next().unwrap_or("").split('?').next().unwrap_or("").to_string();
    let served = guest_world().ok().map(|(world, _)| world.root.join("downloads").join(&name));
    if let Some(file) = served.filter(|file| !name.is_empty() && file.is_file()) {
        // GitHub answers release downloads with a redirect, and curl without `-L` takes that for the file.
        if url.starts_with("https://github.com/") && !args.has("-L") {
            return save(args, &name, &mut io::empty());
        }
        return save(args, &name, &mut File::open(file).map_err(|error| (37, error.to_string()))?);
    }
    let mut url = url.to_string();
    for _ in 0..MOST_REDIRECTS {
        let (authority, _) = http::split(&url).map_err(|error| (6, error.to_string()))?;
        let host = authority.split(':').next().unwrap_or("");
        if !matches!(host, "127.0.0.1" | "localhost") {
            return Err((6, format!("Could not resolve host: {host}")));
        }
        let mut answer = http::request("GET", &url, None).map_err(|error| (7, error.to_string()))?;
        match (answer.status, answer.location.take()) {
            (300..400, Some(location)) if args.has("-L") => url = location,
            (400.., _) if args.has("-f") => {
                return Err((22, format!("The requested URL returned error: {}", answer.status)));
            }
            _ => return save(args, &name, &mut answer.body),
        }
    }
    Err((47, format!("Maximum ({MOST_REDIRECTS}) redirects followed")))
}

fn save(args: &Args, name: &str, from: &mut impl io::Read) -> Result<(), Trouble> {
    let unwritten = |error: io::Error| (23, error.to_string());
    let dir = PathBuf::from(args.value("--output-dir").unwrap_or(""));
    let file = match args.value("-o") {
        Some("-") => None,
        Some(file) => Some(dir.join(file)),
        None if args.has("-O") => Some(dir.join(name)),
        None => None,
    };
    let Some(file) = file else {
        io::copy(from, &mut io::stdout()).map_err(unwritten)?;
        return io::stdout().flush().map_err(unwritten);
    };
    let mut to = fs::File::create(file).map_err(unwritten)?;
    io::copy(from, &mut to).map(drop).map_err(|error| (18, error.to_string()))
}
