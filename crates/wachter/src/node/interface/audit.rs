use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{Stream, stream};
use serde_json::value::RawValue;
use wachter_api::shapes::{AuditRecord, AuditReport, Corruption, JournalCheckpoint};
use wachter_api::{
    Call, ExportJournal, ListCheckpoints, Problem, ProblemKind, Server, VerifyJournal,
};
use wachter_bus::{Bus, Chain, Checkpoint, DamageKind, Query, ReadError, Replay, Seq, Stored};
use wachter_model::{Digest, chain};

use super::problems::unreadable;
use super::with;
use crate::node::context::Node;
use crate::node::journal;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<VerifyJournal, _, _>(with(node, verify))
        .answer::<ListCheckpoints, _, _>(with(node, checkpoints))
        .stream::<ExportJournal, _, _, _>(with(node, export))
}

async fn verify(node: Arc<Node>, call: Call<VerifyJournal>) -> Result<AuditReport, Problem> {
    let query = call.query;
    let against = query.checkpoint.as_deref().map(Checkpoint::parse).transpose();
    let against =
        against.map_err(|error| Problem::invalid(format!("`checkpoint`: {}", chain(&error))))?;
    let data = node.data.clone();
    let check = tokio::task::spawn_blocking(move || journal::checker(&data)).await;
    let check = check.map_err(|error| Problem::internal(error.to_string()))?;
    let check = check.map_err(|error| {
        Problem::internal(format!("the node's public keys cannot be read: {error}"))
    })?;
    if let Some(kept) = &against
        && let Some(signature) = &kept.signature
    {
        check(&kept.text(), signature).map_err(|reason| {
            Problem::new(
                ProblemKind::Refused,
                format!(
                    "the signature of the checkpoint that was handed in does not hold: {reason}"
                ),
            )
        })?;
    }
    let from = Seq::new(query.from.unwrap_or(0));
    let verified = node.bus.verify(from, against.into_iter().collect()).await;
    let report = verified.map_err(|error| unreadable(&error))?;
    let to = query.to.unwrap_or(u64::MAX);
    let damage = report.damage.iter().filter(|damage| damage.range.first.get() <= to);
    let damage = damage.map(|damage| Corruption {
        first: damage.range.first.get(),
        last: damage.range.last.get(),
        what: sentence(damage.kind).to_owned(),
    });
    let contradicted = report.contradicted.iter().map(|checkpoint| Corruption {
        first: checkpoint.first.get(),
        last: checkpoint.last.get(),
        what: format!(
            "the checkpoint of {} that was handed in says otherwise than the journal",
            checkpoint.at
        ),
    });
    let signatures = node.bus.check_signatures(check).await.map_err(|error| unreadable(&error))?;
    let forged = signatures.wrong.iter().map(|(checkpoint, reason)| Corruption {
        first: checkpoint.first.get(),
        last: checkpoint.last.get(),
        what: format!("the signature of its checkpoint does not hold: {reason}"),
    });
    let corruptions: Vec<_> = damage.chain(contradicted).chain(forged).collect();
    Ok(AuditReport {
        valid: corruptions.is_empty(),
        journal: node.bus.journal().to_owned(),
        first: report.range.map_or(0, |range| range.first.get()),
        last: report.range.map_or(0, |range| range.last.get()),
        events: report.events,
        checkpoints: report.checkpoints,
        chain: report.chain.map(digest_of),
        corruptions,
    })
}

const fn sentence(kind: DamageKind) -> &'static str {
    match kind {
        DamageKind::Body => "the body is not what was written: what it said is lost",
        DamageKind::Seal => "the digests beside the body are not what was written; the body is",
        DamageKind::Link => "it does not follow the one before: it was exchanged or changed",
        DamageKind::Missing => "it is missing: what it said is lost",
        DamageKind::Checkpoint => "the checkpoint says otherwise than the events before it",
    }
}

async fn checkpoints(
    node: Arc<Node>,
    _: Call<ListCheckpoints>,
) -> Result<Vec<JournalCheckpoint>, Problem> {
    let checkpoints = node.bus.checkpoints().await.map_err(|error| unreadable(&error))?;
    let shown = checkpoints.into_iter().map(|checkpoint| JournalCheckpoint {
        first: checkpoint.first.get(),
        last: checkpoint.last.get(),
        events: checkpoint.count,
        time: checkpoint.at,
        text: checkpoint.text(),
        signature: checkpoint.signature,
        dropped: checkpoint.dropped.is_some(),
    });
    Ok(shown.collect())
}

async fn export(
    node: Arc<Node>,
    call: Call<ExportJournal>,
) -> Result<impl Stream<Item = Result<AuditRecord, Problem>> + use<>, Problem> {
    let query = call.query;
    if query.checkpoint.is_some() {
        return Err(Problem::invalid("`checkpoint` is for a check of the chain: /v1/audit/verify"));
    }
    let (from, to) = (query.from.unwrap_or(0), query.to.unwrap_or(u64::MAX));
    let export = Export::open(&node.bus, from, to).await?;
    Ok(stream::try_unfold(export, |mut export| async {
        Ok(export.next().await?.map(|record| (record, export)))
    }))
}

/// A part of the journal on its way out. The chain is worked out anew, as anybody can from the export:
/// what it comes to is compared with checkpoints by whoever reads it.
struct Export {
    replay: Replay,
    /// The values of the chain that checkpoints tell, by their last place.
    known: BTreeMap<u64, Chain>,
    /// After the last record, as far as it is known.
    chain: Option<Chain>,
    last: u64,
    from: u64,
    to: u64,
}

impl Export {
    async fn open(bus: &Bus, from: u64, to: u64) -> Result<Self, Problem> {
        let checkpoints = bus.checkpoints().await.map_err(|error| unreadable(&error))?;
        let known: BTreeMap<u64, Chain> = checkpoints
            .iter()
            .map(|checkpoint| (checkpoint.last.get(), checkpoint.chain))
            .collect();
        let dropped = checkpoints.iter().filter(|checkpoint| checkpoint.dropped.is_some());
        let gone = dropped.map(|checkpoint| checkpoint.last.get()).max().unwrap_or(0);
        let begin = known
            .range(gone..from.max(gone + 1))
            .next_back()
            .map(|(last, chain)| (*last, Some(*chain)));
        // Before the first event stands the journal's identity.
        let (last, chain) =
            begin.unwrap_or_else(|| (gone, (gone == 0).then(|| Chain::begin(bus.journal()))));
        let replay = bus.replay(Query { after: Seq::new(last), ..Query::default() });
        Ok(Self { replay, known, chain, last, from, to })
    }

    async fn next(&mut self) -> Result<Option<AuditRecord>, Problem> {
        while let Some(stored) = self.replay.next().await {
            let record = match stored {
                Ok(stored) => self.sound(&stored),
                Err(ReadError::Damaged(seq)) => self.damaged(seq),
                Err(error) => return Err(unreadable(&error)),
            };
            if record.sequence > self.to {
                return Ok(None);
            }
            if record.sequence >= self.from {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn sound(&mut self, stored: &Stored) -> AuditRecord {
        let (sequence, body) = (stored.seq.get(), stored.event.to_json());
        let digest = Digest::of(&body);
        let before = self.chain.filter(|_| sequence == self.last + 1);
        let at = stored.at.as_millisecond();
        let after = before.map(|before| before.next(stored.seq, at, digest.as_bytes()));
        self.chain = after.or_else(|| self.known.get(&sequence).copied());
        self.last = sequence;
        let body = String::from_utf8(body).expect("an event is written as JSON, which is UTF-8");
        AuditRecord {
            sequence,
            at: Some(stored.at),
            digest: Some(digest),
            chain: self.chain.map(digest_of),
            event: RawValue::from_string(body).expect("an event is written as JSON"),
        }
    }

    fn damaged(&mut self, seq: Seq) -> AuditRecord {
        self.last = seq.get();
        self.chain = self.known.get(&self.last).copied();
        AuditRecord {
            sequence: self.last,
            at: None,
            digest: None,
            chain: self.chain.map(digest_of),
            event: RawValue::NULL.to_owned(),
        }
    }
}

fn digest_of(chain: Chain) -> Digest {
    Digest::from_bytes(*chain.as_bytes())
}
