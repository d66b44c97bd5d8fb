use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use wachter_model::{Digest, RunId};
use wachter_protocol::module::{HostViews, IdempotencyKey, ModuleIdentity, Request};
use wachter_protocol::{Egress, Grant, MODULE_PROTOCOL, Manifest};
use wachter_sandbox::RunOrder;

use crate::Cause;

/// A run that is wanted.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Which run it is to be.
    pub run: RunId,
    /// What it is for, however often it is tried.
    pub idempotency_key: IdempotencyKey,
    /// Why.
    pub cause: Cause,
    /// The module's digest.
    pub digest: Digest,
    /// What the module is.
    pub manifest: Manifest,
    /// What it may touch.
    pub grant: Grant,
    /// What it is told.
    pub input: Value,
    /// The event that woke it, where one did: CloudEvents in JSON.
    pub event: Option<Value>,
    /// What it remembers.
    pub state: Value,
    /// Whether effects are withheld.
    pub dry_run: bool,
}

/// Makes the order for the sandbox, with the snapshots of the host that were taken for it, and sets the
/// deadline, counted from `now`. No view is handed on that was not granted.
#[must_use]
pub fn order(
    request: &RunRequest,
    egress: &Egress,
    mut host: HostViews,
    now: Timestamp,
) -> RunOrder {
    let granted = &request.grant.permissions().host;
    host.views.retain(|view, _| granted.contains(view));
    let timeout = request.grant.limits().timeout.as_millis();
    let timeout = SignedDuration::from_millis(i64::try_from(timeout).unwrap_or(i64::MAX));
    let deadline = now.saturating_add(timeout).unwrap_or(Timestamp::MAX);
    RunOrder {
        module: request.manifest.name.clone(),
        digest: request.digest,
        grant: request.grant.clone(),
        emits: request.manifest.emits.clone(),
        request: Request {
            protocol: MODULE_PROTOCOL,
            run: request.run,
            idempotency_key: Some(request.idempotency_key),
            module: ModuleIdentity {
                name: request.manifest.name.clone(),
                version: request.manifest.version.clone(),
            },
            input: request.input.clone(),
            event: request.event.clone(),
            host,
            state: request.state.clone(),
            dry_run: request.dry_run,
            deadline: deadline.to_string(),
        },
        egress: egress.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wachter_protocol::HostView;
    use wachter_sandbox::{HostRoot, sample};

    #[test]
    fn a_run_is_handed_the_views_that_it_was_granted_and_no_others() {
        for (asked, expected) in
            [("[]", &[][..]), ("[memory, cpu]", &[HostView::Cpu, HostView::Memory][..])]
        {
            let manifest = Manifest::read(&format!(
                "name: a\nversion: '1'\nruntime: {{ kind: process, entrypoint: a }}\npermissions: {{ host: {asked} }}\n"
            ))
            .unwrap();
            let run = RunId::new();
            let digest = Digest::of(b"a");
            let request = RunRequest {
                run,
                idempotency_key: IdempotencyKey::of_run(run),
                cause: Cause::AdHoc,
                digest,
                grant: Grant::for_development(digest, &manifest).unwrap(),
                manifest,
                input: Value::Null,
                event: None,
                state: Value::Null,
                dry_run: false,
            };
            let all = sample(&HostView::ALL.into(), &HostRoot::default());
            let order = order(&request, &Egress::default(), all, Timestamp::now());
            let views: Vec<_> = order.request.host.views.into_keys().collect();
            assert_eq!(views, expected, "{asked}");
        }
    }
}
