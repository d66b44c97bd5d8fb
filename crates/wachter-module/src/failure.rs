use std::error::Error;

use wachter_protocol::module::Outcome;

/// Why a module did not do what it was asked to do: one sentence for a person.
///
/// Every error converts to a failure, with its causes, so `?` works. For that reason this type is
/// no [`Error`] itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleError {
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
}

impl ModuleError {
    /// It was tried and could not be done.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, message: message.into() }
    }

    /// It was not tried: something that the module needs was withheld, as in a dry run.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Refused, message: message.into() }
    }
}

impl<E: Error> From<E> for ModuleError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::failed(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot count")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn causes_are_told() {
        let error = ModuleError::from(Outer("x".parse::<u8>().unwrap_err()));
        assert_eq!(error.message, "cannot count: invalid digit found in string");
        assert_eq!(error.outcome, Outcome::Failed);
    }
}
