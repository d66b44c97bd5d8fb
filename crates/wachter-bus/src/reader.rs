//! Reads on a connection and a thread of its own, in bounded steps, so that a long look back holds
//! up neither the writer nor a task.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::connect::{Files, Purpose};
use crate::{ReadError, lock};

type Task = Box<dyn FnOnce(&Connection) + Send>;

/// Hands work to the thread that reads.
pub(crate) struct Reader {
    tasks: std::sync::Mutex<Option<mpsc::Sender<Task>>>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
    damage_note: PathBuf,
}

impl Reader {
    pub(crate) fn start(files: &Files) -> Result<Self, ReadError> {
        let connection = files.connect(Purpose::Read)?;
        let (tasks, inbox) = mpsc::channel::<Task>();
        let thread = thread::Builder::new()
            .name("bus-reader".into())
            .spawn(move || {
                for task in inbox {
                    task(&connection);
                }
            })
            .map_err(ReadError::Thread)?;
        let damage_note = files.damage_note();
        Ok(Self { tasks: Some(tasks).into(), thread: Some(thread).into(), damage_note })
    }

    /// Has `task` done; `false` if the bus is closed.
    pub(crate) fn run(&self, task: impl FnOnce(&Connection) + Send + 'static) -> bool {
        lock(&self.tasks).as_ref().is_some_and(|tasks| tasks.send(Box::new(task)).is_ok())
    }

    /// Reads and waits for the answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.run(move |connection| drop(answer.send(question(connection))));
        let answer = answered.await.map_err(|_| ReadError::Closed)?;
        if let Err(ReadError::Sqlite(error)) = &answer {
            self.note_damage(error);
        }
        answer
    }

    /// Sees to it that a malformed file is salvaged when the journal is opened again.
    pub(crate) fn note_damage(&self, error: &rusqlite::Error) {
        if crate::salvage::calls_for_it(error) {
            // What cannot be noted is met again.
            let _ = std::fs::write(&self.damage_note, format!("{error}\n"));
        }
    }

    /// Ends the thread after what it was given.
    pub(crate) fn stop(&self) {
        drop(lock(&self.tasks).take());
        if let Some(thread) = lock(&self.thread).take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic there was told already, by the panic's own message.
            let _ = thread.join();
        }
    }
}
