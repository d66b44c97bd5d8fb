use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// An index of Python packages on the loopback interface, in the form of PEP 503, with wheels that are
/// made on the fly.
#[derive(Clone, Debug)]
pub struct PackageIndex {
    port: u16,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// File name and content, by the normalized name of the package.
    files: BTreeMap<String, Vec<(String, Vec<u8>)>>,
    requests: Vec<String>,
    closed: bool,
    /// Bytes of a file after which nothing more is sent.
    stalls_after: Option<usize>,
}

/// A package in the making.
#[derive(Clone, Debug)]
pub struct Wheel {
    name: String,
    version: String,
    tag: String,
    requires: Vec<String>,
    files: Vec<(String, String)>,
}

impl Wheel {
    /// A package of pure Python with one module of its name, whose `value` is its version.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        let module = (format!("{name}.py"), format!("value = '{version}'\n"));
        let (name, version) = (name.to_owned(), version.to_owned());
        Self {
            name,
            version,
            tag: "py3-none-any".to_owned(),
            requires: Vec::new(),
            files: vec![module],
        }
    }

    /// For another interpreter or machine than all.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        tag.clone_into(&mut self.tag);
        self
    }

    /// With one more package that it needs.
    #[must_use]
    pub fn requires(mut self, package: &str) -> Self {
        self.requires.push(package.to_owned());
        self
    }

    /// With one more file, whatever its name.
    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// The wheel, a zip file (PEP 427): its name and its bytes.
    ///
    /// # Panics
    /// The host has no Python, which writes it.
    #[must_use]
    pub fn make(&self) -> (String, Vec<u8>) {
        const SCRIPT: &str = "
import base64, hashlib, io, json, sys, zipfile
wheel = json.load(sys.stdin)
info = f\"{wheel['name']}-{wheel['version']}.dist-info\"
files = [tuple(file) for file in wheel['files']]
requires = ''.join(f'Requires-Dist: {name}\\n' for name in wheel['requires'])
files.append((f'{info}/METADATA', f\"Metadata-Version: 2.1\\nName: {wheel['name']}\\nVersion: {wheel['version']}\\n{requires}\"))
files.append((f'{info}/WHEEL', f\"Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: {wheel['tag']}\\n\"))
record = ''
for path, content in files:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b'=').decode()
    record += f'{path},sha256={digest},{len(content.encode())}\\n'
files.append((f'{info}/RECORD', record + f'{info}/RECORD,,\\n'))
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, 'w') as archive:
    for path, content in files:
        archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
sys.stdout.buffer.write(buffer.getvalue())
";
        let mut python = Command::new("/usr/bin/python3")
            .args(["-I", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a /usr/bin/python3");
        let request = serde_json::json!({
            "name": self.name, "version": self.version, "tag": self.tag, "files": self.files,
            "requires": self.requires,
        });
        let mut stdin = python.stdin.take().expect("it was asked for");
        stdin.write_all(request.to_string().as_bytes()).expect("Python reads");
        drop(stdin);
        let output = python.wait_with_output().expect("Python ends");
        assert!(output.status.success(), "{output:?}");
        (format!("{}-{}-{}.whl", self.name, self.version, self.tag), output.stdout)
    }
}

impl PackageIndex {
    /// An index with nothing in it.
    ///
    /// # Errors
    /// The system has no socket left.
    pub fn serve() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shelf = Arc::<Mutex<Shelf>>::default();
        let (served, shelf) = (Arc::clone(&shelf), shelf);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shelf = Arc::clone(&served);
                std::thread::spawn(move || answer(&client, &shelf));
            }
        });
        Ok(Self { port, shelf })
    }

    /// Its address, for `python.index`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/simple", self.port)
    }

    /// Puts a package in. Gives the line of a lock file that names it.
    pub fn add(&self, wheel: &Wheel) -> String {
        let (file, bytes) = wheel.make();
        let line = format!("{}=={} --hash=sha256:{}\n", wheel.name, wheel.version, sha256(&bytes));
        let mut shelf = self.shelf();
        shelf.files.entry(wheel.name.replace('_', "-")).or_default().push((file, bytes));
        line
    }

    /// From now on, sends so many bytes of a wheel, and then waits.
    pub fn stall_after(&self, bytes: usize) {
        self.shelf().stalls_after = Some(bytes);
    }

    /// From now on, answers nobody.
    pub fn close(&self) {
        self.shelf().closed = true;
    }

    /// The paths that were asked for so far.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shelf().requests.clone()
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sha256(bytes: &[u8]) -> String {
    wachter_model::Digest::of(bytes).to_string()
}

fn answer(client: &TcpStream, shelf: &Mutex<Shelf>) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.take(64 << 10)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (found, stalls_after) = {
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.closed {
            return Ok(());
        }
        shelf.requests.push(path.clone());
        (shelf.look_up(&path), shelf.stalls_after)
    };
    let mut client = client;
    let Some((kind, body)) = found else {
        return write!(
            client,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    };
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    match stalls_after.filter(|_| kind != HTML) {
        None => client.write_all(&body),
        Some(bytes) => {
            client.write_all(&body[..bytes.min(body.len())])?;
            // Until the other side gives up.
            std::io::copy(&mut client, &mut std::io::sink()).map(drop)
        }
    }
}

const HTML: &str = "text/html";

impl Shelf {
    fn look_up(&self, path: &str) -> Option<(&'static str, Vec<u8>)> {
        if let Some(package) = path.strip_prefix("/simple/") {
            let files = self.files.get(package.trim_end_matches('/'))?;
            let links = files.iter().map(|(name, bytes)| {
                format!("<a href=\"/files/{name}#sha256={}\">{name}</a>\n", sha256(bytes))
            });
            return Some((HTML, links.collect::<String>().into_bytes()));
        }
        let wanted = path.strip_prefix("/files/")?;
        let (_, bytes) = self.files.values().flatten().find(|(name, _)| name == wanted)?;
        Some(("application/octet-stream", bytes.clone()))
    }
}

/// The executable of `uv`: the one that `WACHTER_UV` names, one in a usual place, or one on `PATH`. None
/// where there is none, which is said.
///
/// # Panics
/// There is none in continuous integration: a test that skips in silence is no test.
#[must_use]
#[expect(clippy::print_stdout, reason = "whoever runs a test is to see that it was skipped")]
pub fn uv() -> Option<PathBuf> {
    let named = std::env::var_os("WACHTER_UV").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("uv")).collect::<Vec<_>>();
    let usual = ["/usr/local/bin/uv", "/usr/bin/uv", "/opt/uv/bin/uv"].map(PathBuf::from);
    let found = named.into_iter().chain(usual).chain(on_path).find(|path| is_program(path));
    if found.is_none() {
        let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!strict, "uv is missing; run `cargo xtask setup`");
        println!("skipped: uv is missing; run `cargo xtask setup`");
    }
    found
}

fn is_program(path: &Path) -> bool {
    let mut begin = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == *b"\x7fELF"
}
