//! A guest's `curl`: serves files from the host's `downloads` folder by their name, and really fetches plain HTTP.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
        &["-w", "--write-out"],
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

/// What was found at the end of all redirects.
struct Found {
    url: String,
    status: u16,
    from: Box<dyn io::Read>,
}

fn fetch(args: &Args, url: &str) -> Result<(), Trouble> {
    let name = url.rsplit('/').next().unwrap_or("").split('?').next().unwrap_or("").to_string();
    let mut found = match canned(args, url, &name)? {
        Some(found) => found,
        None => get(args, url)?,
    };
    save(args, &name, &mut found.from)?;
    if let Some(format) = args.value("-w") {
        let text = format.replace("%{url_effective}", &found.url);
        let text = text.replace("%{http_code}", &found.status.to_string()).replace("\\n", "\n");
        print!("{text}");
    }
    Ok(())
}

/// What the host's `downloads` folder stands in for: any file by its name, and which release is the latest.
fn canned(args: &Args, url: &str, name: &str) -> Result<Option<Found>, Trouble> {
    let Ok((world, _)) = guest_world() else { return Ok(None) };
    let downloads = world.root.join("downloads");
    let found = |from: Box<dyn io::Read>, url: &str| Some(Found { url: url.into(), status: 200, from });
    // GitHub answers these with a redirect, and curl without `-L` takes that for the file.
    if url.starts_with("https://github.com/actions/runner/releases/") && !args.has("-L") {
        return Ok(Some(Found { url: url.into(), status: 302, from: Box::new(io::empty()) }));
    }
    match (url.strip_suffix("/releases/latest"), newest(&downloads)) {
        (Some("https://github.com/actions/runner"), Some(version)) => {
            let tag = format!("https://github.com/actions/runner/releases/tag/v{version}");
            return Ok(found(Box::new(io::empty()), &tag));
        }
        (Some("https://api.github.com/repos/actions/runner"), Some(version)) => {
            let text = format!("{{\n  \"tag_name\": \"v{version}\"\n}}\n");
            return Ok(found(Box::new(io::Cursor::new(text)), url));
        }
        _ => {}
    }
    let file = downloads.join(name);
    if name.is_empty() || !file.is_file() {
        return Ok(None);
    }
    let file = File::open(file).map_err(|error| (37, error.to_string()))?;
    Ok(found(Box::new(file), url))
}

/// The highest version that `downloads` holds a runner of.
fn newest(downloads: &Path) -> Option<String> {
    let names = fs::read_dir(downloads).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions = names.filter_map(|name| {
        Some(name.strip_prefix("actions-runner-osx-arm64-")?.strip_suffix(".tar.gz")?.to_string())
    });
    versions
        .max_by_key(|version| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>())
}

fn get(args: &Args, url: &str) -> Result<Found, Trouble> {
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
            (status, _) => return Ok(Found { url, status, from: Box::new(answer.body) }),
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
