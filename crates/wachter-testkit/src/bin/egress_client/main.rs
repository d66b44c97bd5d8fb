//! A module in Rust that reaches the network: `wachter-egress-client direct|proxy HOST:PORT PATH`.
//!
//! `direct.rs` and `proxy.rs` stand word for word in the documentation, where people copy them.

#![expect(clippy::print_stdout, reason = "stdout is how a module speaks")]
#![expect(unreachable_pub, reason = "what people copy is public where they put it")]

mod direct;
mod proxy;

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let answer = match arguments.as_slice() {
        [way, endpoint, path] if way == "direct" => {
            direct::connect(endpoint).and_then(|stream| ask(stream, path))
        }
        [way, endpoint, path] if way == "proxy" => {
            proxy::connect(endpoint).and_then(|stream| ask(stream, path))
        }
        _ => Err(io::Error::other("usage: direct|proxy HOST:PORT PATH")),
    };
    let result = match answer {
        Ok(answer) => json!({ "output": answer }),
        Err(error) => json!({ "outcome": "failed", "message": error.to_string() }),
    };
    println!("{}", json!({ "result": result }));
}

/// One request over a connection that stands; gives all that comes back.
fn ask(mut stream: TcpStream, path: &str) -> io::Result<String> {
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
