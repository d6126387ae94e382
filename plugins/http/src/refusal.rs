//! Why the server itself answers a request. Every refusal ends the connection: what follows on it is unknown.

use crate::response::Response;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the request is broken: {0}")]
    Broken(&'static str),
    #[error("request line and headers are too large")]
    HeadTooLarge,
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
    #[error("only the transfer encoding `chunked` is known here")]
    Encoding,
    #[error("only the expectation `100-continue` is known here")]
    Expectation,
    #[error("too much is being received, try again soon")]
    NoRoom,
    #[error("the request was not taken up in time, try again soon")]
    NoWorker,
    #[error("the request did not come in whole in time")]
    TooSlow,
    #[error("the request was not admitted")]
    NotAdmitted(Response),
}

impl Refusal {
    pub(crate) fn into_response(self) -> Response {
        let text = format!("{self}\n");
        match self {
            Refusal::Broken(_) => Response::text(400, text),
            Refusal::TooSlow => Response::text(408, text),
            Refusal::BodyTooLarge => Response::text(413, text),
            Refusal::Expectation => Response::text(417, text),
            Refusal::HeadTooLarge => Response::text(431, text),
            Refusal::Encoding => Response::text(501, text),
            Refusal::NoRoom | Refusal::NoWorker => Response::text(503, text).header("Retry-After", "5"),
            Refusal::Version => Response::text(505, text),
            Refusal::NotAdmitted(response) => response,
        }
    }
}
