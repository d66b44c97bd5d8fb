use std::io;
use std::net::TcpStream;

/// Connects to a granted endpoint, as `api.example.com:443`.
pub fn connect(endpoint: &str) -> io::Result<TcpStream> {
    TcpStream::connect(endpoint)
}
