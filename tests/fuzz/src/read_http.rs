//! What comes over a connection: heads, bodies, chunks and requests behind each other, in pieces of any size.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use crate::intake::{Intake, Progress, Rules};
use crate::limits::Limits;

/// The first byte is the size of the pieces; the rest is what the client sends.
pub fn http_stream(bytes: &[u8]) {
    let Some((&n_piece, stream)) = bytes.split_first() else { return };
    let whole = requests(stream, stream.len().max(1));
    let pieces = requests(stream, usize::from(n_piece).max(1));
    // How a network cuts the bytes must not change what they say: that is how requests are smuggled. A head that is wrong and not whole
    // may be refused sooner or later.
    assert_eq!(whole, pieces);
}

/// Method, path and body of each request up to the first refusal.
fn requests(stream: &[u8], n_piece: usize) -> Vec<(String, String, Vec<u8>)> {
    let limits = Limits { n_head_bytes: 2 << 10, n_body_bytes: 4 << 10, n_headers: 16, ..Limits::default() };
    let rules = Rules {
        limits: &limits,
        admit: &|_| Ok(()),
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        now: Instant::now(),
    };
    let mut intake = Intake::new();
    let mut seen = Vec::new();
    for piece in stream.chunks(n_piece) {
        let mut bytes = piece;
        loop {
            match intake.advance(bytes, &rules) {
                Ok(Progress::Whole(request)) => {
                    assert!(request.body().len() <= limits.n_body_bytes);
                    let (method, path) = (request.method().to_owned(), request.path().to_owned());
                    seen.push((method, path, request.body().to_vec()));
                    bytes = &[];
                }
                Ok(Progress::More | Progress::MoreAfterContinue) => break,
                Err(_) => return seen,
            }
        }
    }
    seen
}
