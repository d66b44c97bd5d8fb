use serde::Deserialize;
use serde_json::Value;
use wachter_model::Verdict;

/// What a person said about a finding: the data of an event `finding.judged`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Judgement {
    /// The finding's fingerprint.
    pub fingerprint: String,
    /// What it was.
    pub verdict: Verdict,
}

impl Judgement {
    /// Reads it from the event that woke the run; none where that is another event.
    #[must_use]
    pub fn of_event(event: &Value) -> Option<Self> {
        (event.get("type")?.as_str()? == "finding.judged").then_some(())?;
        Self::deserialize(event.get("data")?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_judgements_are_read() {
        let event = |kind: &str, data: Value| json!({ "type": kind, "data": data });
        let data = json!({ "fingerprint": "a:b", "verdict": "false-positive" });
        let read = Judgement::of_event(&event("finding.judged", data.clone())).unwrap();
        assert_eq!((read.fingerprint.as_str(), read.verdict), ("a:b", Verdict::FalsePositive));
        for other in [
            event("finding.reported", data),
            event("finding.judged", json!({ "fingerprint": "a:b", "verdict": "maybe" })),
            event("finding.judged", Value::Null),
            Value::Null,
        ] {
            assert_eq!(Judgement::of_event(&other), None);
        }
    }
}
