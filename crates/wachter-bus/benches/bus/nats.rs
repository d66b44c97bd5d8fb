//! NATS JetStream on the same disk, with each message synced before it is acknowledged: as much of the
//! protocol as a publisher needs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::rate::{Clients, summary};

/// A server of its own, ended when this is dropped.
struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Measures at 1, 8 and 64 publishers, if the program is named by `WACHTER_NATS_SERVER`, in
/// `target/tools` or on `PATH`.
pub(crate) fn measure(folder: &Path, target: &Path, length: Duration, body: &[u8]) {
    let named = std::env::var_os("WACHTER_NATS_SERVER").map(PathBuf::from);
    let unpacked = Some(target.join("tools/usr/sbin/nats-server")).filter(|path| path.exists());
    let program = named.or(unpacked).unwrap_or_else(|| "nats-server".into());
    let Some(server) = start(&program, folder) else {
        println!("NATS JetStream: no {} here that runs", program.display());
        return;
    };
    let mut first = Client::connect(server.port);
    let stream = r#"{"name":"B","subjects":["bench"],"storage":"file","num_replicas":1}"#;
    let made = first.request("$JS.API.STREAM.CREATE.B", stream.as_bytes());
    assert!(made.contains("\"did_create\":true"), "{made}");
    for publishers in [1_usize, 8, 64] {
        let threads: Vec<_> = (0..publishers)
            .map(|_| {
                let mut client = Client::connect(server.port);
                let body = body.to_owned();
                std::thread::spawn(move || {
                    let (begun, mut took) = (Instant::now(), Vec::new());
                    while begun.elapsed() < length {
                        let start = Instant::now();
                        let stored = client.request("bench", &body);
                        assert!(stored.contains("\"seq\""), "{stored}");
                        took.push(start.elapsed().as_secs_f64() * 1e3);
                    }
                    took
                })
            })
            .collect();
        let took: Vec<f64> = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a publisher does not panic"))
            .collect();
        let turn = Clients::of(took, length);
        println!("NATS JetStream, sync always, {publishers:2} at once: {}", summary(vec![turn]));
    }
}

fn start(program: &Path, folder: &Path) -> Option<Server> {
    let version = Command::new(program).arg("--version").output().ok()?;
    print!("{}", String::from_utf8_lossy(&version.stdout));
    let configuration = folder.join("nats.conf");
    let store = folder.join("nats");
    let text = format!(
        "listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n",
        store.display()
    );
    std::fs::write(&configuration, text).expect("the folder can be written");
    let mut process =
        Command::new(program).arg("-c").arg(&configuration).stderr(Stdio::piped()).spawn().ok()?;
    // It says which port it took, and that it is ready, in its log.
    let log = BufReader::new(process.stderr.take()?);
    let mut port = None;
    let mut lines = log.lines();
    while let Some(Ok(line)) = lines.next() {
        if let Some((_, address)) =
            line.split_once("Listening for client connections on 127.0.0.1:")
        {
            port = address.trim().parse().ok();
        }
        if line.contains("Server is ready") {
            break;
        }
    }
    // The rest of its log must go somewhere.
    std::thread::spawn(move || lines.for_each(drop));
    let server = Server { process, port: port.unwrap_or(0) };
    port.map(|_| server)
}

struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        let lines = BufReader::new(stream.try_clone().expect("a socket"));
        let mut client = Self { stream, lines };
        let inbox = client.stream.local_addr().expect("a socket").port();
        let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB _INBOX.{inbox} 1\r\n");
        client.stream.write_all(hello.as_bytes()).expect("the server reads");
        client
    }

    /// Sends a message and waits for the answer to it.
    fn request(&mut self, subject: &str, body: &[u8]) -> String {
        let inbox = self.stream.local_addr().expect("a socket").port();
        let mut message = format!("PUB {subject} _INBOX.{inbox} {}\r\n", body.len()).into_bytes();
        message.extend_from_slice(body);
        message.extend_from_slice(b"\r\n");
        self.stream.write_all(&message).expect("the server reads");
        let mut line = String::new();
        loop {
            line.clear();
            self.lines.read_line(&mut line).expect("the server answers");
            if line.starts_with("PING") {
                self.stream.write_all(b"PONG\r\n").expect("the server reads");
            } else if line.starts_with("MSG ") {
                line.clear();
                self.lines.read_line(&mut line).expect("the server answers");
                return line;
            }
        }
    }
}
