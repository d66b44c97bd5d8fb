use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Context, ModuleError, Report};

/// A unit of work that a node runs: one input, one result.
pub trait Module {
    /// What the module is asked, as its input schema has it. Derive `Deserialize` with
    /// `deny_unknown_fields`, so that a mistyped key is an error that names the known ones.
    type Input: DeserializeOwned;

    /// What the module keeps from run to run, 1 MiB of JSON at most; `()` for nothing.
    type State: Default + Serialize + DeserializeOwned;

    /// Does the work.
    ///
    /// A second run with the same input must report that nothing changed, since a node repeats a
    /// run whose end it did not see. Where [`Context::dry_run`] is true nothing may be changed: say
    /// what would be. The node stops a run at [`Context::deadline`] without asking.
    ///
    /// # Errors
    /// [`ModuleError::failed`], or any other error by `?`, where the work was tried and not done;
    /// [`ModuleError::refused`] where it was not tried. The state stays as it was.
    fn execute(
        &self,
        input: Self::Input,
        context: &mut Context<Self::State>,
    ) -> Result<Report, ModuleError>;

    /// Reads the state that the last accepted run left, maybe one of an earlier version of this
    /// module; not called when there is none.
    ///
    /// # Errors
    /// A state of another shape fails the run. Override this where an old state can be carried
    /// over, or may be forgotten.
    fn read_state(&self, state: Value) -> Result<Self::State, ModuleError> {
        serde_path_to_error::deserialize(state).map_err(|error| {
            ModuleError::failed(format!(
                "the state of the last run cannot be read: {error}; give new keys a default"
            ))
        })
    }
}
