use std::io::{self, BufRead, Read, Write};

/// The most bytes that the head of a request may have.
const MAX_HEAD_BYTES: u64 = 64 * 1024;

/// The most bytes that the body of a request may have: pushes of tests are small.
const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;

/// One HTTP/1.1 request (RFC 9112), read whole.
#[derive(Debug)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl HttpRequest {
    /// Reads one request. `None` when the client closed the connection before it sent one.
    ///
    /// # Errors
    /// When the connection fails or what comes is not HTTP.
    pub(crate) fn read<S: BufRead + Write>(stream: &mut S) -> io::Result<Option<Self>> {
        let mut head = stream.take(MAX_HEAD_BYTES);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(invalid("not a request line"));
        };
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            head.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None if line.trim_end().is_empty() => break,
                None => return Err(invalid("not a header")),
            }
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), query.to_owned()),
            None => (target, String::new()),
        };
        let mut request = Self { method, path, query, headers, body: Vec::new() };
        request.read_body(stream)?;
        Ok(Some(request))
    }

    /// A header's value; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn read_body<S: BufRead + Write>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            stream.flush()?;
        }
        if self
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            return self.read_chunks(stream);
        }
        let length = match self.header("content-length") {
            Some(length) => length.parse().map_err(|_| invalid("not a content length"))?,
            None => 0,
        };
        self.read_part(stream, length)
    }

    fn read_chunks<S: BufRead>(&mut self, stream: &mut S) -> io::Result<()> {
        loop {
            let mut line = String::new();
            stream.take(1024).read_line(&mut line)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length =
                u64::from_str_radix(digits, 16).map_err(|_| invalid("not a chunk size"))?;
            self.read_part(stream, length)?;
            let mut end = String::new();
            stream.take(1024).read_line(&mut end)?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn read_part<S: BufRead>(&mut self, stream: &mut S, length: u64) -> io::Result<()> {
        if self.body.len() as u64 + length > MAX_BODY_BYTES {
            return Err(invalid("the body is too large"));
        }
        let read = stream.take(length).read_to_end(&mut self.body)?;
        if read as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
