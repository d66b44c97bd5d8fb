//! The log of a node, as its settings say.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wachter_config::{LogFormat, LogSettings, Settings};
use wachter_log::{Control, FileLimits, Format, Options};

use crate::failure::CommandError;

/// The folder of the log, in the data folder.
pub(crate) const FOLDER: &str = "logs";

/// Starts the log: on standard error and in files.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn start(data: &Path, settings: &LogSettings) -> Result<Control, CommandError> {
    Ok(wachter_log::start(Options {
        level: settings.level,
        format: format(settings),
        folder: Some(data.join(FOLDER)),
        files: limits(settings),
        standard_error: true,
    })?)
}

/// Has the log follow the settings until shutdown. It ends, with all that was said, when the last
/// clone of `control` is dropped.
pub(crate) async fn follow(
    control: Arc<Control>,
    mut settings: watch::Receiver<Arc<Settings>>,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            changed = settings.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
        let log = settings.borrow_and_update().log.clone();
        control.level(log.level);
        control.configure(format(&log), limits(&log));
    }
}

const fn format(settings: &LogSettings) -> Format {
    match settings.format {
        LogFormat::Human => Format::Human,
        LogFormat::Logfmt => Format::Logfmt,
        LogFormat::Json => Format::Json,
    }
}

fn limits(settings: &LogSettings) -> FileLimits {
    FileLimits {
        size: settings.max_size.as_bytes(),
        age: settings.max_age.to_std(),
        total: settings.total.as_bytes(),
    }
}
