//! One error type for the whole crate: what happened, to which file or row, and what to do next.

use std::path::{Path, PathBuf};

/// What kind of failure it is; decides the exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The command line or a setting is wrong (exit code 2).
    Usage,
    /// An input file is missing, broken or of the wrong kind (exit code 3).
    Input,
    /// The check of a data set found errors, or strict mode met a bad row (exit code 4).
    Check,
    /// Reading or writing failed for a reason outside the program: disk full, permission (exit code 5).
    Io,
    /// Training stopped on NaN/Inf or ran out of memory (exit code 6).
    Training,
    /// The user stopped it (exit code 130).
    Stopped,
    /// A bug in Lorascope (exit code 70).
    Internal,
}

impl Kind {
    /// The documented exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::Input => 3,
            Kind::Check => 4,
            Kind::Io => 5,
            Kind::Training => 6,
            Kind::Internal => 70,
            Kind::Stopped => 130,
        }
    }
}

/// An error as a user reads it: `message` says what happened and where, `hint` what to do next.
#[derive(Clone, Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{message}")]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message)
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }
    /// Adds what the user can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// An I/O error at `path`, while doing `what` ("read", "write", "create").
    pub fn io(what: &str, path: &Path, e: &std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let at = path.display();
        match e.kind() {
            E::NotFound => Self::input(format!("cannot {what} {at}: no such file or folder"))
                .hint("check the path for a typing error"),
            E::PermissionDenied => Self::new(Kind::Io, format!("cannot {what} {at}: permission denied")),
            E::StorageFull => Self::new(Kind::Io, format!("cannot {what} {at}: the disk is full"))
                .hint("free some space, or choose another output folder; nothing half-written was left"),
            E::IsADirectory => Self::input(format!("cannot {what} {at}: it is a folder"))
                .hint("name a file; is a part of the path missing?"),
            E::NotADirectory | E::AlreadyExists => {
                Self::input(format!("cannot {what} {at}: a file stands where a folder is wanted"))
                    .hint("choose another path, or move the file away")
            }
            _ => Self::new(Kind::Io, format!("cannot {what} {at}: {e}")),
        }
    }
}

/// Adds the path to an I/O result: `fs::read(&p).at("read", &p)?`.
pub trait At<T> {
    fn at(self, what: &str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, what: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::io(what, path.as_ref(), &e))
    }
}

/// For tests of what a panic leaves behind: panics where `LORASCOPE_TEST_PANIC` says so, in the `trainer` or the `screen`.
pub fn panic_for_test(place: &str) {
    if std::env::var_os("LORASCOPE_TEST_PANIC").is_some_and(|wanted| wanted == place) {
        panic!("LORASCOPE_TEST_PANIC asks for it");
    }
}

/// A path that must exist, else a clear error that names what it was wanted for.
pub fn must_exist(path: &Path, wanted_as: &str) -> Result<PathBuf> {
    if path.exists() {
        return Ok(path.to_path_buf());
    }
    Err(Error::input(format!("{wanted_as} not found: {}", path.display()))
        .hint("check the path for a typing error"))
}
