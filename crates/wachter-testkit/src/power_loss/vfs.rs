//! The VFS: every call goes to the usual one, and what changes the disk goes into the log.
//!
//! All `unsafe` of the simulation is here. It rests on the contract of SQLite's VFS
//! (<https://sqlite.org/c3ref/vfs.html>, <https://sqlite.org/c3ref/io_methods.html>):
//! - SQLite calls a method of a VFS with the pointer that was registered, and a method of a file
//!   with memory of `szOsFile` bytes, aligned to 8, that `xOpen` filled in;
//! - it calls no method of a file after `xClose`, nor two at a time of one file;
//! - pointers that it hands over are valid for the call and for the length that goes with them.
//!
//! A VFS is never freed: a connection may be open longer than the [`Registration`] lives, and SQLite
//! keeps the pointer. A test leaks a few hundred bytes that way.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Mutex};

use rusqlite::ffi;

use super::lock;
use super::log::{FileId, Log};

/// A VFS that SQLite knows by its name, until this is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    name: String,
    log: Arc<Mutex<Log>>,
    /// The leaked VFS. A number, because it is only ever handed back to SQLite.
    address: usize,
}

/// Why a recorder cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The folder cannot be read.
    #[error("read the folder {folder}, which has to be there before it is recorded")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The name has a zero byte.
    #[error("the name {name:?} of a recorder has a zero byte")]
    Name {
        /// The name.
        name: String,
    },
    /// The process has a VFS of this name.
    #[error("the name {name:?} of a recorder is taken; give each one a name of its own")]
    Taken {
        /// The name.
        name: String,
    },
    /// SQLite gave an error.
    #[error("register the recorder {name:?}: SQLite answers with code {code}")]
    Sqlite {
        /// The name.
        name: String,
        /// SQLite's result code.
        code: c_int,
    },
}

/// What the methods of a VFS reach through its `pAppData`.
struct Context {
    usual: *mut ffi::sqlite3_vfs,
    log: Arc<Mutex<Log>>,
}

/// An open file. The file of the usual VFS lies right behind it in the same memory.
#[repr(C)]
struct RecordedFile {
    /// First, so that a pointer to this is one to SQLite's own structure.
    common: ffi::sqlite3_file,
    context: *const Context,
    /// `None` where it is not recorded.
    file: Option<FileId>,
    /// The usual VFS is going to sync the folder along with the file.
    folder_sync_due: bool,
}

/// Only one registration at a time, so that a name that is free stays free until it is taken.
static REGISTERING: Mutex<()> = Mutex::new(());

impl Registration {
    pub(super) fn new(name: &str, log: Arc<Mutex<Log>>) -> Result<Self, RegisterError> {
        let owned = || name.to_owned();
        let c_name = CString::new(name).map_err(|_| RegisterError::Name { name: owned() })?;
        let failed = |code| RegisterError::Sqlite { name: owned(), code };
        let _only_one = lock(&REGISTERING);
        // SAFETY: it may be called at any time, any number of times, from any thread.
        let code = unsafe { ffi::sqlite3_initialize() };
        if code != ffi::SQLITE_OK {
            return Err(failed(code));
        }
        // SAFETY: the name ends with a zero byte and outlives the call.
        if !unsafe { ffi::sqlite3_vfs_find(c_name.as_ptr()) }.is_null() {
            return Err(RegisterError::Taken { name: owned() });
        }
        // SAFETY: a literal that ends with a zero byte.
        let usual = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
        if usual.is_null() {
            return Err(failed(ffi::SQLITE_NOTFOUND));
        }
        let context = Box::into_raw(Box::new(Context { usual, log: Arc::clone(&log) }));
        // SAFETY: SQLite never frees nor moves a VFS that it knows.
        let (usual_size, longest_path) = unsafe { ((*usual).szOsFile, (*usual).mxPathname) };
        let own_size = c_int::try_from(size_of::<RecordedFile>()).expect("it is a few words");
        let vfs = Box::into_raw(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: own_size + usual_size,
            mxPathname: longest_path,
            pNext: ptr::null_mut(),
            zName: c_name.into_raw(),
            pAppData: context.cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_path_name),
            xDlOpen: Some(load_nothing),
            xDlError: Some(say_nothing),
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: Some(current_time_milliseconds),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the structure is complete for its version and is never freed.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        if code != ffi::SQLITE_OK {
            return Err(failed(code));
        }
        Ok(Self { name: owned(), log, address: vfs.expose_provenance() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let vfs = ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: the pointer is the one that was registered; nothing is freed, so a connection
        // that still uses it goes on.
        unsafe { ffi::sqlite3_vfs_unregister(vfs) };
        lock(&self.log).end();
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 3 would let SQLite write past the log, into mapped memory.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(acquire),
    xUnlock: Some(release),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shared_memory_map),
    xShmLock: Some(shared_memory_lock),
    xShmBarrier: Some(shared_memory_barrier),
    xShmUnmap: Some(shared_memory_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Calls a method of the file of the usual VFS.
macro_rules! usual_file {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: `open` left a file of the usual VFS right behind the `RecordedFile`, and the
        // arguments are SQLite's own, or keep to the same contract.
        unsafe {
            let file: *mut ffi::sqlite3_file = behind($file);
            match (*(*file).pMethods).$method {
                Some(method) => method(file $(, $argument)*),
                None => ffi::SQLITE_IOERR,
            }
        }
    }};
}

/// Calls a method of the usual VFS.
macro_rules! usual_vfs {
    ($vfs:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: SQLite hands over the VFS that was registered, whose `pAppData` is a `Context`
        // that is never freed; the arguments are SQLite's own.
        unsafe {
            let usual = (*context($vfs)).usual;
            match (*usual).$method {
                Some(method) => method(usual $(, $argument)*),
                None => ffi::SQLITE_ERROR,
            }
        }
    }};
}

/// Defines functions that pass a call on unchanged.
macro_rules! pass_on {
    ($($through:ident! $name:ident = $method:ident($of:ident: $kind:ty $(, $argument:ident: $type:ty)*);)*) => {
        $(unsafe extern "C" fn $name($of: *mut $kind $(, $argument: $type)*) -> c_int {
            $through!($of, $method $(, $argument)*)
        })*
    };
}

pass_on! {
    usual_vfs! access = xAccess(vfs: ffi::sqlite3_vfs, name: *const c_char, flags: c_int, result: *mut c_int);
    usual_vfs! full_path_name = xFullPathname(vfs: ffi::sqlite3_vfs, name: *const c_char, size: c_int, out: *mut c_char);
    usual_vfs! randomness = xRandomness(vfs: ffi::sqlite3_vfs, size: c_int, out: *mut c_char);
    usual_vfs! sleep = xSleep(vfs: ffi::sqlite3_vfs, microseconds: c_int);
    usual_vfs! current_time = xCurrentTime(vfs: ffi::sqlite3_vfs, out: *mut f64);
    usual_vfs! current_time_milliseconds = xCurrentTimeInt64(vfs: ffi::sqlite3_vfs, out: *mut i64);
    usual_vfs! last_error = xGetLastError(vfs: ffi::sqlite3_vfs, size: c_int, out: *mut c_char);

    usual_file! read = xRead(file: ffi::sqlite3_file, out: *mut c_void, size: c_int, offset: i64);
    usual_file! file_size = xFileSize(file: ffi::sqlite3_file, out: *mut i64);
    usual_file! acquire = xLock(file: ffi::sqlite3_file, level: c_int);
    usual_file! release = xUnlock(file: ffi::sqlite3_file, level: c_int);
    usual_file! check_reserved_lock = xCheckReservedLock(file: ffi::sqlite3_file, out: *mut c_int);
    usual_file! sector_size = xSectorSize(file: ffi::sqlite3_file);
    usual_file! device_characteristics = xDeviceCharacteristics(file: ffi::sqlite3_file);
    usual_file! shared_memory_map = xShmMap(file: ffi::sqlite3_file, page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void);
    usual_file! shared_memory_lock = xShmLock(file: ffi::sqlite3_file, offset: c_int, count: c_int, flags: c_int);
    usual_file! shared_memory_unmap = xShmUnmap(file: ffi::sqlite3_file, delete: c_int);
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over the registered VFS.
    let context = unsafe { context(vfs) };
    // SAFETY: a `Context` is never freed, and nothing changes it.
    let shared = unsafe { &(*context).log };
    // SAFETY: the memory has `szOsFile` bytes: a `RecordedFile` and behind it a file of the usual
    // VFS. Without methods SQLite takes either as not open.
    unsafe {
        file.cast::<RecordedFile>().write(RecordedFile {
            common: ffi::sqlite3_file { pMethods: ptr::null() },
            context,
            file: None,
            folder_sync_due: false,
        });
        (*behind(file)).pMethods = ptr::null();
    }
    // A temporary file has no name, or is deleted when it is closed.
    let kept = flags & ffi::SQLITE_OPEN_DELETEONCLOSE == 0;
    // SAFETY: a name that is not null ends with a zero byte.
    let path = (!name.is_null() && kept).then(|| unsafe { path(name) });
    // Held until the file is open and in the log, so that no other thread makes it in between.
    let mut log = lock(shared);
    let existed = path.is_some_and(Path::exists);
    // SAFETY: the pointer to the name goes on as it is, because SQLite hides the parameters of a
    // URI behind the name; the memory behind the `RecordedFile` is as large as the VFS asked for.
    let code = unsafe {
        let usual = (*context).usual;
        match (*usual).xOpen {
            Some(method) => method(usual, name, behind(file), flags, out_flags),
            None => ffi::SQLITE_CANTOPEN,
        }
    };
    let recorded = match path {
        Some(path) if code == ffi::SQLITE_OK => log.opened(path, existed),
        _ => Ok(None),
    };
    let (code, recorded) = match recorded {
        Ok(recorded) => (code, recorded),
        Err(_) => (ffi::SQLITE_CANTOPEN, None),
    };
    if code != ffi::SQLITE_OK {
        // SAFETY: the usual file is closed only where it was opened.
        unsafe { close_usual(file) };
        return code;
    }
    let journals =
        ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;
    // SAFETY: as above; from here on SQLite takes the file as open.
    unsafe {
        let own = file.cast::<RecordedFile>();
        (*own).file = recorded;
        (*own).folder_sync_due = flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & journals != 0;
        (*own).common.pMethods = &raw const METHODS;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_folder: c_int,
) -> c_int {
    // SAFETY: SQLite hands over the registered VFS, whose context is never freed.
    let mut log = lock(unsafe { &(*context(vfs)).log });
    // The usual VFS would really sync the folder.
    let code = usual_vfs!(vfs, xDelete, name, 0);
    if code == ffi::SQLITE_OK {
        // SAFETY: the name ends with a zero byte.
        log.deleted(unsafe { path(name) }, sync_folder & 1 != 0);
    }
    code
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes what `open` opened, once.
    unsafe { close_usual(file) }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    size: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: the file is open.
    let (log, recorded) = unsafe { recorded(file) };
    // Held from here, so that the log has the order of the file.
    let mut log = lock(log);
    let code = usual_file!(file, xWrite, bytes, size, offset);
    if let (ffi::SQLITE_OK, Some(recorded), Ok(size), Ok(offset)) =
        (code, recorded, usize::try_from(size), usize::try_from(offset))
    {
        // SAFETY: SQLite hands over this many bytes, and leaves them alone during the call.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), size) };
        log.written(recorded, offset, bytes);
    }
    code
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: the file is open.
    let (log, recorded) = unsafe { recorded(file) };
    let mut log = lock(log);
    let code = usual_file!(file, xTruncate, size);
    if let (ffi::SQLITE_OK, Some(recorded)) = (code, recorded)
        // The usual VFS may round the size up.
        && let Some(size) = size_of_usual(file)
    {
        log.resized(recorded, size);
    }
    code
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let (log, recorded) = unsafe { recorded(file) };
    if let Some(recorded) = recorded {
        // Without the lock of the log: what else happens to the folder does not wait for this.
        let hold = lock(log).hold();
        drop(hold.1.wait_while(lock(&hold.0), |held| *held));
        let mut log = lock(log);
        // Whether sizes go along (`SQLITE_SYNC_DATAONLY`) makes no difference on Linux:
        // `fdatasync` writes the size that is needed to read the data.
        log.synced(recorded);
        // SAFETY: the file is open, and SQLite makes one call at a time of it.
        let due = unsafe { &mut (*file.cast::<RecordedFile>()).folder_sync_due };
        if std::mem::take(due) {
            log.folder_synced(recorded);
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(
    file: *mut ffi::sqlite3_file,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    if operation != ffi::SQLITE_FCNTL_SIZE_HINT {
        return usual_file!(file, xFileControl, operation, argument);
    }
    // The one control that may change a file.
    // SAFETY: the file is open.
    let (log, recorded) = unsafe { recorded(file) };
    let mut log = lock(log);
    let before = size_of_usual(file);
    let code = usual_file!(file, xFileControl, operation, argument);
    if let (Some(recorded), Some(size)) = (recorded, size_of_usual(file))
        && before != Some(size)
    {
        log.resized(recorded, size);
    }
    code
}

unsafe extern "C" fn shared_memory_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: as in `usual_file`.
    unsafe {
        let file = behind(file);
        if let Some(method) = (*(*file).pMethods).xShmBarrier {
            method(file);
        }
    }
}

/// Extensions cannot be loaded through a recorder.
unsafe extern "C" fn load_nothing(_: *mut ffi::sqlite3_vfs, _: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

unsafe extern "C" fn say_nothing(_: *mut ffi::sqlite3_vfs, size: c_int, out: *mut c_char) {
    if size > 0 {
        // SAFETY: SQLite hands over room for `size` bytes.
        unsafe { out.write(0) };
    }
}

/// # Safety
/// The VFS is one of [`Registration::new`].
unsafe fn context(vfs: *mut ffi::sqlite3_vfs) -> *const Context {
    // SAFETY: that is what `pAppData` was set to, and neither is ever freed.
    unsafe { (*vfs).pAppData.cast::<Context>() }
}

/// The file of the usual VFS.
///
/// # Safety
/// The memory is that of a `RecordedFile` and of a file of the usual VFS.
unsafe fn behind(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: the memory goes on behind the `RecordedFile`, whose size is a multiple of 8, so the
    // place is aligned as SQLite aligned the whole.
    unsafe { file.cast::<RecordedFile>().add(1).cast() }
}

/// The log, and which file in it this is.
///
/// # Safety
/// The file is open.
unsafe fn recorded<'a>(file: *mut ffi::sqlite3_file) -> (&'a Mutex<Log>, Option<FileId>) {
    // SAFETY: `open` filled it in; the context is never freed.
    unsafe {
        let own = file.cast::<RecordedFile>();
        (&*(*(*own).context).log, (*own).file)
    }
}

/// Closes the file of the usual VFS where it is open.
///
/// # Safety
/// `open` began with this file, and nobody uses it any more.
unsafe fn close_usual(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: a file of the usual VFS is open when it has methods.
    unsafe {
        let usual = behind(file);
        match (*usual).pMethods.as_ref().and_then(|methods| methods.xClose) {
            Some(method) => method(usual),
            None => ffi::SQLITE_OK,
        }
    }
}

fn size_of_usual(file: *mut ffi::sqlite3_file) -> Option<usize> {
    let mut size = 0i64;
    let code = usual_file!(file, xFileSize, &raw mut size);
    if code == ffi::SQLITE_OK { usize::try_from(size).ok() } else { None }
}

/// # Safety
/// The name ends with a zero byte and is not freed while the path is used.
unsafe fn path<'a>(name: *const c_char) -> &'a Path {
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    Path::new(OsStr::from_bytes(name.to_bytes()))
}
