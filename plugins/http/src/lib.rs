//! A bounded HTTP/1.1 server for webhook receivers and metrics pages.
//!
//! One poll loop thread holds every socket; a few workers get complete requests over a bounded channel. Every
//! connection, byte and second has a limit ([`Limits`]), so that slow, idle or very many clients cost neither
//! threads nor memory, and a healthy request is answered beside them.
//!
//! Deliberately absent: TLS (a reverse proxy does that), streaming bodies, compression, percent-decoding of paths.

mod body;
mod connection;
mod descriptors;
mod door;
mod head;
mod intake;
mod limits;
mod poll_loop;
mod refusal;
mod request;
mod response;
mod room;
mod server;
mod wake;
mod worker;

pub use limits::Limits;
pub use request::{Head, Request};
pub use response::Response;
pub use server::{Admit, Handler, Running, Server, ServerError, Stats};
