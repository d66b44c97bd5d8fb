use std::io::{self, Read, Write};

/// Which kind of request a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// `GET info/refs`: the first request of all.
    Discovery,
    /// Listing references (`ls-refs` of protocol version 2).
    References,
    /// Sending a pack (`fetch`).
    Pack,
}

/// What a server does wrong on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status and an empty body.
    Status(u16),
    /// Redirects (302) to this location, unless that is what was asked for.
    Redirect(String),
    /// Closes the connection after this many bytes of the body.
    CutAfter(usize),
    /// Sends the head of an answer, and then nothing, until the client gives up.
    Stall,
    /// Sends a pack that never ends. Meant for [`Phase::Pack`].
    Endless,
}

/// One packed blob of 65,535 zero bytes in a stored (uncompressed) deflate block.
fn packed_blob() -> Vec<u8> {
    let content = [0; 65_535];
    // Type 3 (blob) and the size, 4 bits and then 7 bits at a time (gitformat-pack).
    let mut bytes = vec![0x80 | 3 << 4 | 0x0f, 0xff, 0x1f];
    // RFC 1950 header; RFC 1951 stored block, the last one: length and its complement.
    bytes.extend([0x78, 0x01, 0x01, 0xff, 0xff, 0x00, 0x00]);
    bytes.extend(content);
    // Adler-32 of zeros: a stays 1, b counts the bytes.
    let checksum = (65_535u32 % 65_521) << 16 | 1;
    bytes.extend(checksum.to_be_bytes());
    bytes
}

/// Writes a pack of protocol version 2 for as long as the other side reads.
pub(crate) fn send_endless_pack(stream: &mut dyn Write) -> io::Result<()> {
    stream.write_all(b"000dpackfile\n")?;
    let mut head = b"PACK\0\0\0\x02".to_vec();
    head.extend(1_000_000u32.to_be_bytes());
    send_band(stream, &head)?;
    let blob = packed_blob();
    loop {
        for part in blob.chunks(65_000) {
            send_band(stream, part)?;
        }
    }
}

/// One packet of sideband 1.
fn send_band(stream: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    write!(stream, "{:04x}\x01", bytes.len() + 5)?;
    stream.write_all(bytes)
}

/// Waits until the other side closes the connection.
pub(crate) fn wait_for_close(stream: &mut dyn Read) {
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {}
}
