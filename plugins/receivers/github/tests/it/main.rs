//! The receiver as GitHub, strangers and operators see it: over a real socket, with the memory store behind it. One program, so that
//! it links once.

mod bodies;
mod capture;
mod lines;
mod order;
mod outage;
mod refusals;
mod shapes;
mod start_and_stop;
mod support;
