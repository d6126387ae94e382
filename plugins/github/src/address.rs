//! Where GitHub's API is, and how paths below it are written. The credentials go to this scheme, host and port and to no other.

use std::fmt::Write;
use std::net::IpAddr;

use anklet_plugin_api::job::Job;
use anklet_plugin_api::scope::Scope;
use ureq::http::Uri;

/// A repository, by the names of owner and repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repository<'a> {
    /// User or organization.
    pub owner: &'a str,
    /// The repository without its owner.
    pub repo: &'a str,
}

impl<'a> From<&'a Job> for Repository<'a> {
    fn from(job: &'a Job) -> Self {
        Self { owner: &job.owner, repo: &job.repo }
    }
}

impl Repository<'_> {
    pub(crate) fn path(&self) -> String {
        format!("/repos/{}/{}", segment(self.owner), segment(self.repo))
    }
}

/// The path of what belongs to a scope.
pub(crate) fn scope_path(scope: &Scope) -> String {
    match scope {
        Scope::Repository { owner, repo } => Repository { owner, repo }.path(),
        Scope::Organization { owner } => format!("/orgs/{}", segment(owner)),
        Scope::Enterprise { slug } => format!("/enterprises/{}", segment(slug)),
    }
}

/// One segment of a path, or one value of a query: whatever it holds, it can neither end nor escape.
pub(crate) fn segment(text: &str) -> String {
    let only_dots = text.bytes().all(|byte| byte == b'.');
    text.bytes().fold(String::with_capacity(text.len()), |mut written, byte| {
        match byte {
            b'.' if !only_dots => written.push('.'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => written.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(written, "%{byte:02X}");
            }
        }
        written
    })
}

/// The API's address: scheme, host, port and the path that all calls begin with.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    url: String,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Base {
    /// Reads `github_api_url`; the error says what is wrong with it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let origin = Origin::of(url)?;
        let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
        if uri.query().is_some() {
            return Err("a query does not belong there".to_owned());
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), origin })
    }

    /// The URL of a path that begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The URL that an answer points to, if the credentials may go there.
    pub(crate) fn follow(&self, target: &str) -> Result<String, String> {
        if target.starts_with('/') && !target.starts_with("//") {
            let Origin { is_tls, host, port } = &self.origin;
            let scheme = if *is_tls { "https" } else { "http" };
            return Ok(format!("{scheme}://{host}:{port}{target}"));
        }
        if Origin::of(target)? == self.origin {
            Ok(target.to_owned())
        } else {
            Err("it points to another host or port, where our credentials must not go".to_owned())
        }
    }

    /// The domains that the host lies in, the nearest first.
    pub(crate) fn domains(&self) -> impl Iterator<Item = &str> {
        let host = self.origin.host.as_str();
        let is_number = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        let dots = host.match_indices('.').filter(move |_| !is_number);
        dots.filter_map(move |(place, _)| host.get(place + 1..)).filter(|domain| !domain.is_empty())
    }

    /// Whether calls never leave this machine, or are not encrypted: no proxy is asked then.
    pub(crate) fn is_direct(&self) -> bool {
        let host = self.origin.host.trim_matches(['[', ']']);
        let is_loopback = host.parse::<IpAddr>().map_or(host == "localhost", |address| address.is_loopback());
        !self.origin.is_tls || is_loopback
    }
}

impl Origin {
    fn of(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
        let (is_tls, usual_port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err("it does not begin with https:// or http://".to_owned()),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.host().is_empty() {
            return Err("it names no host".to_owned());
        }
        if authority.as_str().contains('@') {
            return Err("it holds a user name or password".to_owned());
        }
        let port = authority.port_u16().unwrap_or(usual_port);
        Ok(Self { is_tls, host: authority.host().to_ascii_lowercase(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text_stays_one_segment() {
        for (text, written) in [
            ("Octo-Org_1.x~", "Octo-Org_1.x~"),
            ("a/b?c#d%e&f=g h", "a%2Fb%3Fc%23d%25e%26f%3Dg%20h"),
            ("..", "%2E%2E"),
            (".", "%2E"),
            ("ü\n", "%C3%BC%0A"),
        ] {
            assert_eq!(segment(text), written, "{text:?}");
        }
    }

    #[test]
    fn each_scope_has_its_path() {
        let repository = Scope::Repository { owner: "o".into(), repo: "r".into() };
        assert_eq!(scope_path(&repository), "/repos/o/r");
        assert_eq!(scope_path(&Scope::Organization { owner: "o/..".into() }), "/orgs/o%2F..");
        assert_eq!(scope_path(&Scope::Enterprise { slug: "e".into() }), "/enterprises/e");
    }

    #[test]
    fn the_address_is_checked() {
        assert_eq!(
            Base::parse("https://ghe.example/api/v3/").unwrap().url("/x"),
            "https://ghe.example/api/v3/x"
        );
        for (url, word) in [
            ("ftp://x", "https://"),
            ("api.github.com", "https://"),
            ("/x", "https://"),
            ("https://user:pass@x", "password"),
            ("https://x/?q", "query"),
            ("https://", ""),
            ("https://x y", ""),
        ] {
            let what = Base::parse(url).unwrap_err();
            assert!(what.contains(word), "{url}: {what}");
        }
    }

    #[test]
    fn credentials_stay_where_they_belong() {
        let base = Base::parse("https://GHE.example/api/v3").unwrap();
        for allowed in
            ["https://ghe.example/api/v3/x?page=2", "https://ghe.example:443/repositories/1", "/elsewhere"]
        {
            assert!(base.follow(allowed).is_ok(), "{allowed}");
        }
        assert_eq!(base.follow("/a?b").unwrap(), "https://ghe.example:443/a?b");
        for refused in [
            "http://ghe.example/x",
            "https://ghe.example:8443/x",
            "https://ghe.example.evil/x",
            "https://ghe.example@evil/x",
            "//evil/x",
            "x",
            "",
        ] {
            assert!(base.follow(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_host_lies_in_its_domains() {
        let domains =
            |url: &str| Base::parse(url).unwrap().domains().map(ToOwned::to_owned).collect::<Vec<_>>();
        assert_eq!(domains("https://GHE.corp.example:8443/api/v3"), ["corp.example", "example"]);
        for alone in ["https://ghe", "https://10.0.0.1", "https://[::1]", "https://ghe."] {
            assert_eq!(domains(alone), Vec::<String>::new(), "{alone}");
        }
    }

    #[test]
    fn no_proxy_for_this_machine_and_plain_http() {
        for (url, is_direct) in [
            ("https://api.github.com", false),
            ("https://10.0.0.1", false),
            ("http://10.0.0.1", true),
            ("https://localhost:8443", true),
            ("https://127.0.0.1", true),
            ("https://[::1]:1", true),
        ] {
            assert_eq!(Base::parse(url).unwrap().is_direct(), is_direct, "{url}");
        }
    }
}
