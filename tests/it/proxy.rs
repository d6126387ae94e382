//! GitHub's API behind a company's proxy and certificates: a server of our own with TLS, under a name that only our own proxy can reach.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::Builder;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::redis_servers::server::{TestServer, free_port};
use crate::support::{LIMIT, World, bare};

const API: &str = "https://api.github.test/api/v3";

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name)
}

/// Serves each connection on a thread of its own; the threads end with the test program.
fn listen(name: &str, serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accept = move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            let connection = Builder::new().name("connection".to_owned());
            connection.spawn(move || serve(stream)).unwrap();
        }
    };
    Builder::new().name(name.to_owned()).spawn(accept).unwrap();
    address
}

/// A message of HTTP: its head, and as much body as `Content-Length` says.
fn read_message(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let (mut message, mut length) = (Vec::new(), 0);
    loop {
        let begin = message.len();
        if reader.read_until(b'\n', &mut message).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&message[begin..]).to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let begin = message.len();
    message.resize(begin + length, 0);
    reader.read_exact(&mut message[begin..]).ok()?;
    Some(message)
}

/// TLS before the stand-in for GitHub, one connection of it for each that comes.
fn with_tls(github: SocketAddr) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_file(fixture("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    listen("tls", move |stream| {
        let mut outside = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let mut inside = BufReader::new(TcpStream::connect(github).unwrap());
        let mut unread = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let mut reader = unread.as_slice();
            if let Some(request) = read_message(&mut reader) {
                unread = reader.to_vec();
                inside.get_mut().write_all(&request).unwrap();
                let Some(answer) = read_message(&mut inside) else { return };
                if outside.write_all(&answer).is_err() {
                    return;
                }
                continue;
            }
            match outside.read(&mut chunk) {
                Ok(n_read) if n_read > 0 => unread.extend_from_slice(&chunk[..n_read]),
                _ => return,
            }
        }
    })
}

/// A proxy that leads whoever asks for any host to `server`, and what it was asked for.
fn proxy_to(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let address = listen("proxy", move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let Some(head) = read_message(&mut reader) else { return };
        let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        noted.lock().unwrap().push(line);
        let mut target = TcpStream::connect(server).unwrap();
        let (mut from_target, mut to_client) = (target.try_clone().unwrap(), stream);
        to_client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let back = Builder::new().name("back".to_owned()).spawn(move || {
            let _ = std::io::copy(&mut from_target, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut reader, &mut target);
        let _ = target.shutdown(Shutdown::Both);
        back.unwrap().join().unwrap();
    });
    (address, asked)
}

/// A world whose API is reached through a proxy alone; the config and the proxy's variable.
fn world() -> (World, String, String, Arc<Mutex<Vec<String>>>) {
    let world = World::new();
    let github = world.github.url().trim_start_matches("http://").parse().unwrap();
    let (proxy, asked) = proxy_to(with_tls(github));
    let config = world
        .config(1)
        .replace(&format!("github_api_url: {}", world.github.api_url()), &format!("github_api_url: {API}"));
    (world, config, format!("http://{proxy}"), asked)
}

fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = bare(env!("CARGO_BIN_EXE_anklet"));
    command.envs(variables.iter().copied());
    command
}

#[test]
fn a_job_runs_through_a_proxy_and_under_an_authority_of_ones_own() {
    let (world, config, proxy, asked) = world();
    let config = format!("ca_file: {}\n{config}", fixture("ca.pem").display());
    let anklet = world.start_with(&config, command(&[("HTTPS_PROXY", &proxy)]));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    anklet.stop();
    let asked = asked.lock().unwrap().clone();
    assert!(
        !asked.is_empty() && asked.iter().all(|line| line == "CONNECT api.github.test:443 HTTP/1.1"),
        "{asked:?}"
    );
    let all = world.github.requests();
    assert!(
        all.iter().any(|request| request.method == "POST" && request.path.ends_with("/registration-token"))
    );
}

/// What `anklet check` says with these variables, and whether all is well.
fn check(world: &World, config: &str, variables: &[(&str, &str)]) -> (bool, String) {
    fs::write(world.home.config(), config).unwrap();
    let path = format!("{}:/usr/bin:/bin", world.home.path().join("bin").display());
    let mut command = command(variables);
    command.arg("check").arg("-c").arg(world.home.config()).env("HOME", world.home.path()).env("PATH", path);
    let output = command.current_dir(world.home.path()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn what_is_in_the_way_is_named() {
    let (world, config, proxy, asked) = world();
    let config = config.replace("limits: {", "limits: {github_retry_total: 0.001, ");
    let trusting = format!("ca_file: {}\n{config}", fixture("ca.pem").display());
    let (is_well, said) = check(&world, &trusting, &[("HTTPS_PROXY", &proxy)]);
    assert!(is_well && said.contains("GitHub lets plugin HANDLER1 see the runners of acme/app"), "{said}");
    let n_asked = asked.lock().unwrap().len();
    // Nobody vouches for it.
    let (is_well, said) = check(&world, &config, &[("HTTPS_PROXY", &proxy)]);
    assert!(!is_well && said.contains("certificate is not trusted") && said.contains("`ca_file`"), "{said}");
    assert_eq!(asked.lock().unwrap().len(), n_asked + 1);
    // Hosts that are called without the proxy: this one cannot be.
    for no_proxy in ["api.github.test", ".github.test", "x.test,github.test", "*"] {
        let (is_well, said) = check(&world, &trusting, &[("HTTPS_PROXY", &proxy), ("NO_PROXY", no_proxy)]);
        assert!(!is_well && said.contains("no answer from GitHub"), "{no_proxy}: {said}");
    }
    assert_eq!(asked.lock().unwrap().len(), n_asked + 1);
    // A proxy that is not there.
    let (is_well, said) = check(&world, &trusting, &[("HTTPS_PROXY", "http://127.0.0.1:9")]);
    assert!(!is_well && said.contains("no answer from GitHub"), "{said}");
}

/// The system's own store counts where no `ca_file` is named. On macOS that is the keychain, which a test leaves alone.
#[test]
#[cfg_attr(target_os = "macos", ignore = "the keychain is left alone")]
fn the_systems_authorities_are_trusted() {
    let (world, config, proxy, _) = world();
    let authorities = fixture("ca.pem").display().to_string();
    let (is_well, said) = check(&world, &config, &[("HTTPS_PROXY", &proxy), ("SSL_CERT_FILE", &authorities)]);
    assert!(is_well, "{said}");
}

/// As for GitHub: a company's Redis needs no `ca_file` where the system knows its authority.
#[test]
#[cfg_attr(target_os = "macos", ignore = "the keychain is left alone")]
fn the_systems_authorities_are_trusted_for_redis() {
    let world = World::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis/tests/certificates");
    let [authorities, certificate, key] =
        ["ca.pem", "server.pem", "server-key.pem"].map(|name| format!("{folder}/{name}"));
    let port = free_port();
    let tls = ["--tls-port", &port.to_string(), "--tls-auth-clients", "no"].map(str::to_owned);
    let files = ["--tls-ca-cert-file", &authorities, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let options: Vec<_> = tls.iter().map(String::as_str).chain(files).collect();
    let _redis = TestServer::start_tls(&options, port);
    let config = format!(
        "{}global_database_url: 127.0.0.1\nglobal_database_port: {port}\nglobal_database_tls_enabled: true\n",
        world.config(1)
    );
    let (is_well, said) = check(&world, &config, &[("SSL_CERT_FILE", &authorities)]);
    assert!(is_well, "{said}");
    let (is_well, said) = check(&world, &config, &[]);
    assert!(!is_well && said.contains("UnknownIssuer"), "{said}");
}
