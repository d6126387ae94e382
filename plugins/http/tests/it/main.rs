//! The server over real sockets on the loopback. One program, so that it links once.

mod crowd;
mod limits;
mod refusals;
mod requests;
mod stop;
mod support;
