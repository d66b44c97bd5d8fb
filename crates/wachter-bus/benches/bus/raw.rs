//! A file that is appended to: what waits is written at once, synced once, and acknowledged.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::thread;

use tokio::sync::{mpsc, oneshot};

type Append = (Vec<u8>, oneshot::Sender<()>);

#[derive(Clone)]
pub(crate) struct RawWriter(mpsc::Sender<Append>);

impl RawWriter {
    pub(crate) fn start(path: &Path) -> Self {
        let mut file = File::create(path).expect("a file can be made");
        let (sender, mut inbox) = mpsc::channel::<Append>(4_096);
        thread::spawn(move || {
            let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
            while let Some(first) = inbox.blocking_recv() {
                let mut next = Some(first);
                while let Some((body, answer)) = next {
                    bytes.extend_from_slice(
                        &u32::try_from(body.len()).expect("1 KiB").to_le_bytes(),
                    );
                    bytes.extend_from_slice(&body);
                    waiting.push(answer);
                    next = if waiting.len() < 512 { inbox.try_recv().ok() } else { None };
                }
                file.write_all(&bytes).expect("the disk has room");
                file.sync_data().expect("the disk works");
                bytes.clear();
                for answer in waiting.drain(..) {
                    let _ = answer.send(());
                }
            }
        });
        Self(sender)
    }

    pub(crate) async fn append(&self, body: Vec<u8>) {
        let (answer, answered) = oneshot::channel();
        self.0.send((body, answer)).await.expect("the writer lives as long as this");
        answered.await.expect("the writer answers all");
    }
}
