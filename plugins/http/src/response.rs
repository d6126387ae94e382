//! An answer, and its bytes. Framing belongs to the server: handlers cannot set it wrong.

/// What a handler answers. `Content-Length` and `Connection` are added by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Response {
    /// An empty answer. A status that is not between 200 and 599 becomes 500.
    pub fn new(status: u16) -> Response {
        let status = if (200..600).contains(&status) { status } else { 500 };
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A plain text answer, for people.
    pub fn text(status: u16, text: impl Into<String>) -> Response {
        Response::new(status).body("text/plain; charset=utf-8", text.into())
    }

    /// Replaces the body and names its type.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        self.body = body.into();
        self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        self.header("Content-Type", content_type)
    }

    /// Adds a header. Control characters in the value become spaces; `Content-Length`, `Connection` and
    /// `Transfer-Encoding` are the server's and are left out.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        let mut value = value.into();
        if value.contains(|c: char| c.is_ascii_control()) {
            value = value.replace(|c: char| c.is_ascii_control(), " ");
        }
        let ours = ["content-length", "connection", "transfer-encoding"];
        if !ours.iter().any(|taken| name.eq_ignore_ascii_case(taken)) {
            self.headers.push((name, value));
        }
        self
    }

    /// The status code, for logs and tests.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body, for logs and tests.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The whole answer in one piece, so that it leaves in one write.
    pub(crate) fn to_bytes(&self, plan: &AnswerPlan) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        // A 204 has no length (RFC 9110, 8.6); clients would wait for a body that a 304 does not have.
        let has_body = !matches!(self.status, 204 | 304);
        if has_body {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        match (plan.keep_alive, plan.minor_version) {
            (false, _) => head.push_str("Connection: close\r\n"),
            (true, 0) => head.push_str("Connection: keep-alive\r\n"),
            (true, _) => {}
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if has_body && !plan.head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// What the request says about the form of its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerPlan {
    pub(crate) keep_alive: bool,
    pub(crate) minor_version: u8,
    pub(crate) head_only: bool,
}

impl AnswerPlan {
    /// For requests that could not be understood: answer and close.
    pub(crate) const CLOSE: AnswerPlan = AnswerPlan { keep_alive: false, minor_version: 1, head_only: false };
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(response: Response, plan: AnswerPlan, expected: &str) {
        assert_eq!(String::from_utf8(response.to_bytes(&plan)).unwrap(), expected);
    }

    #[test]
    fn answers_carry_length_and_connection() {
        let open = AnswerPlan { keep_alive: true, minor_version: 1, head_only: false };
        let text = "Content-Type: text/plain; charset=utf-8\r\n";
        check(
            Response::text(200, "ok"),
            open,
            &format!("HTTP/1.1 200 OK\r\n{text}Content-Length: 2\r\n\r\nok"),
        );
        check(
            Response::text(200, "ok"),
            AnswerPlan { head_only: true, ..open },
            &format!("HTTP/1.1 200 OK\r\n{text}Content-Length: 2\r\n\r\n"),
        );
        check(
            Response::new(404),
            AnswerPlan::CLOSE,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        check(
            Response::new(503).header("Retry-After", "5"),
            AnswerPlan { minor_version: 0, ..open },
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
        );
        check(Response::text(204, "no"), open, &format!("HTTP/1.1 204 No Content\r\n{text}\r\n"));
    }

    #[test]
    fn handlers_cannot_break_the_framing() {
        let open = AnswerPlan { keep_alive: true, minor_version: 1, head_only: false };
        check(
            Response::new(200)
                .header("X-A", "1\r\nX-B: 2")
                .header("content-length", "7")
                .header("Connection", "x"),
            open,
            "HTTP/1.1 200 OK\r\nX-A: 1  X-B: 2\r\nContent-Length: 0\r\n\r\n",
        );
        check(Response::new(42), open, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    }
}
