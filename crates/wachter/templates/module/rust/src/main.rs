// Greets, and remembers how often. Replace it by what your module does.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wachter_module::{Context, Module, ModuleError, Report};

/// What the module is asked; `input.schema.json` describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    greeting: String,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            greeting: "Hello".to_owned(),
        }
    }
}

/// What is kept from run to run. Give new fields a default, or an older state cannot be read.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    count: u64,
    greeting: Option<String>,
}

struct Greeter;

impl Module for Greeter {
    type Input = Input;
    type State = State;

    fn execute(&self, input: Input, context: &mut Context<State>) -> Result<Report, ModuleError> {
        context.state.count += 1;
        context.info(format!("run number {}", context.state.count));

        // Report a problem like this, with its topic under `emits` in module.yaml:
        // context.finding(wachter_module::Finding {
        //     kind: format!("{}.problem", context.module().name).parse()?,
        //     severity: wachter_module::Severity::Low,
        //     confidence: wachter_module::Confidence::CERTAIN,
        //     subject: "greeting".to_owned(),
        //     message: "the greeting is short".to_owned(),
        //     fingerprint: "problem:greeting".to_owned(),
        //     evidence: serde_json::Value::Null,
        //     resolved: false,
        // });

        let output = json!({ "count": context.state.count });
        // A second run with the same input finds nothing to do.
        if context.state.greeting.as_ref() == Some(&input.greeting) {
            return Ok(Report::unchanged()
                .message(format!("{} again", input.greeting))
                .output(output));
        }
        // In a dry run say what would be done, and do nothing.
        if context.dry_run() {
            let message = format!("would greet with {}", input.greeting);
            return Ok(Report::changed().message(message).output(output));
        }
        // Do it here.
        context.state.greeting = Some(input.greeting.clone());
        Ok(Report::changed().message(input.greeting).output(output))
    }
}

fn main() -> ExitCode {
    wachter_module::run(&Greeter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wachter_module::Harness;

    #[test]
    fn a_second_run_changes_nothing() {
        let first = Harness::new().run(&Greeter);
        assert!(first.result.changed);
        let second = Harness::new().after(&first).run(&Greeter);
        assert!(!second.result.changed);
        assert_eq!(second.result.output["count"], 2);
    }
}
