//! GitHub as Anklet's plugins see it: a client of its REST API, the rules of labels, and the shape of jobs in webhooks and answers.
//!
//! It stands alone so that handlers and receivers share one client and read jobs the same way, and so that nothing else in the
//! project knows HTTP, TLS or GitHub's JSON.

pub mod address;
mod agent;
mod answer;
mod app;
pub mod budget;
pub mod checks;
pub mod client;
mod credentials;
pub mod deliveries;
pub mod error;
mod exchange;
mod field;
mod installation;
pub mod jit;
pub mod jobs;
pub mod labels;
mod ledger;
mod memory;
pub mod observer;
mod paging;
pub mod refusal;
mod retry;
pub mod runners;
pub mod shown;
#[cfg(test)]
mod testing;
mod when;
pub mod wire;
