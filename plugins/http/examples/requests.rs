//! Measures the server on the loopback: keep-alive POSTs of 20 KiB from 8 client threads, while a crowd of idle
//! connections is open.
//!
//! ```text
//! cargo run --release -p anklet-http --example requests [SECONDS] [IDLE CONNECTIONS]
//! ```
//!
//! Prints requests per second and the answer times at 50, 99 and 100 percent. Clients and server share the
//! machine's cores, so the figures are for comparing two versions on one machine.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::scope;
use std::time::{Duration, Instant};

use anklet_http::{Limits, Response, Server};

const N_CLIENTS: usize = 8;
const N_BODY_BYTES: usize = 20 << 10;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map_while(|argument| argument.parse::<usize>().ok());
    let limit = Duration::from_secs(arguments.next().unwrap_or(5) as u64);
    let n_idle = arguments.next().unwrap_or(0);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(address, Limits::default(), "load").map_err(io::Error::other)?;
    // Touches every byte, as a signature check does.
    let handler = Arc::new(|request: &anklet_http::Request| {
        let sum = request
            .body()
            .iter()
            .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        Response::text(200, sum.to_string())
    });
    let server = server.serve(handler).map_err(io::Error::other)?;
    let address = server.local_addr();
    let _idle = (0..n_idle).map(|_| TcpStream::connect(address)).collect::<io::Result<Vec<_>>>()?;

    let begun_at = Instant::now();
    let times = scope(|scope| {
        let clients: Vec<_> =
            (0..N_CLIENTS).map(|_| scope.spawn(|| ask_until(address, begun_at + limit))).collect();
        let results = clients.into_iter().map(|client| client.join().unwrap_or_else(|_| Ok(Vec::new())));
        results.collect::<io::Result<Vec<_>>>()
    })?;
    let elapsed = begun_at.elapsed();
    let mut times = times.concat();
    times.sort_unstable();
    let at = |percent: usize| {
        times.get((times.len() * percent / 100).min(times.len() - 1)).copied().unwrap_or_default()
    };
    writeln!(
        io::stdout(),
        "{:.0} requests/s; {:?} at 50 %, {:?} at 99 %, {:?} at most; {} wake-ups for {} requests",
        times.len() as f64 / elapsed.as_secs_f64(),
        at(50),
        at(99),
        at(100),
        server.stats().n_wake_ups,
        times.len(),
    )
}

/// One client: asks on one connection until the time is over.
fn ask_until(address: SocketAddr, end_at: Instant) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut request =
        format!("POST / HTTP/1.1\r\nHost: load\r\nContent-Length: {N_BODY_BYTES}\r\n\r\n").into_bytes();
    request.resize(request.len() + N_BODY_BYTES, b'x');
    let mut times = Vec::new();
    while Instant::now() < end_at {
        let asked_at = Instant::now();
        stream.write_all(&request)?;
        read_answer(&mut answers)?;
        times.push(asked_at.elapsed());
    }
    Ok(times)
}

fn read_answer(answers: &mut BufReader<TcpStream>) -> io::Result<()> {
    let mut n_body = 0;
    loop {
        let mut line = String::new();
        answers.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", length)) => n_body = length.parse().map_err(io::Error::other)?,
            None if line == "\r\n" => return answers.read_exact(&mut vec![0; n_body]),
            None if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(_) | None => {}
        }
    }
}
