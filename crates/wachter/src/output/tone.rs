use console::Style;

/// What a word means to who looks for trouble; colours are for that alone, and every word can be read
/// without them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Somebody must act.
    Bad,
    /// Of less interest than the rest.
    Quiet,
    /// Under way.
    Busy,
    /// A heading.
    Strong,
}

impl Tone {
    /// Of an outcome of a run.
    pub(crate) fn of_outcome(outcome: &str) -> Self {
        match outcome {
            "succeeded" => Self::Good,
            "cancelled" | "not-begun" => Self::Warning,
            "" => Self::Plain,
            _ => Self::Bad,
        }
    }

    /// Wraps a text that is escaped already.
    pub(crate) fn paint(self, text: &str) -> String {
        let style = Style::new().force_styling(true);
        let style = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => style.green(),
            Self::Warning => style.yellow(),
            Self::Bad => style.red(),
            Self::Quiet => style.dim(),
            Self::Busy => style.cyan(),
            Self::Strong => style.bold(),
        };
        style.apply_to(text).to_string()
    }
}
