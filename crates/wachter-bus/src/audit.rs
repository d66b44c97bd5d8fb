//! Checks the journal as what it also is: the audit log.

use std::collections::VecDeque;

use rusqlite::Connection;

use crate::checkpoint::{self, Checkpoint};
use crate::replay::page;
use crate::verify::{Damage, DamageKind, Verifier};
use crate::{Bus, Chain, ReadError, Seq, SeqRange};

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct AuditReport {
    /// Events that were checked.
    pub events: u64,
    /// Checkpoints that were compared.
    pub checkpoints: u64,
    /// The first and the last event that was checked.
    pub range: Option<SeqRange>,
    /// What is not as it was written.
    pub damage: Vec<Damage>,
    /// Checkpoints that were handed in and that the journal contradicts, or has no event for.
    pub contradicted: Vec<Checkpoint>,
    /// The chain after the last event, for a checkpoint of one's own.
    pub chain: Option<Chain>,
}

impl AuditReport {
    /// Whether all is as it was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.contradicted.is_empty()
    }
}

/// What became of the signatures of checkpoints.
#[derive(Clone, Debug, Default)]
pub struct SignatureReport {
    /// Checkpoints whose signature holds.
    pub sound: u64,
    /// Checkpoints that were not signed, or not yet.
    pub unsigned: Vec<Checkpoint>,
    /// Checkpoints whose signature does not hold, each with the reason.
    pub wrong: Vec<(Checkpoint, String)>,
}

impl Bus {
    /// Checks every event from `from` on: that its body is the one that was written, that it follows the
    /// one before, that checkpoints agree, both those of the journal and those handed in, and that none
    /// of the journal's own is missing. For signatures see
    /// [`check_signatures`](Self::check_signatures); of those handed in they are the caller's to check.
    ///
    /// # Errors
    /// The journal could not be read.
    pub async fn verify(
        &self,
        from: Seq,
        against: Vec<Checkpoint>,
    ) -> Result<AuditReport, ReadError> {
        let checkpoints = self.checkpoints().await?;
        let mut own: VecDeque<_> = checkpoints
            .iter()
            .filter(|checkpoint| checkpoint.dropped.is_none() && checkpoint.last >= from)
            .cloned()
            .collect();
        // A dropped segment leaves the chain that the next one follows.
        let dropped =
            checkpoints.iter().filter(|one| one.dropped.is_some()).max_by_key(|one| one.last);
        let start = dropped.map_or(Seq::new(1), |one| Seq::new(one.last.get() + 1)).max(from);
        let chain = checkpoints
            .iter()
            .find(|one| one.last.get() + 1 == start.get())
            .map(|one| one.chain)
            .or_else(|| (start.get() == 1).then(|| Chain::begin(self.journal())));
        let mut verifier = Some(Verifier::new(Some(start), chain));
        let mut report = AuditReport::default();
        let missing = checkpoint::missing(&checkpoints, self.journal());
        let mut against: VecDeque<_> = {
            let mut sorted = against;
            sorted.sort_by_key(|checkpoint| checkpoint.last);
            sorted.into()
        };
        let journal = self.journal().to_owned();
        against.retain(|checkpoint| {
            // Of what was dropped, the journal's own checkpoint is all that is left to compare.
            let kept = checkpoints.iter().find(|own| own.last == checkpoint.last);
            let gone = checkpoint.last < start;
            let agrees = checkpoint.journal == journal
                && (!gone
                    || kept.is_some_and(|own| own.chain == checkpoint.chain)
                    || checkpoint.last < from);
            if !agrees {
                report.contradicted.push(checkpoint.clone());
            }
            agrees && !gone
        });
        let last = self.hub().last();
        let mut after = Seq::new(start.get() - 1);
        loop {
            let mut working = verifier.take().expect("it is put back at the end of each turn");
            let (mut mine, mut theirs) = (std::mem::take(&mut own), std::mem::take(&mut against));
            let answer = self
                .hub()
                .reader
                .ask(move |connection| {
                    let mut contradicted = Vec::new();
                    let seen = page(connection, after, last, |raw| {
                        working.row(raw);
                        while mine.front().is_some_and(|one| one.last <= raw.seq) {
                            if let Some(one) = mine.pop_front() {
                                working.checkpoint(&one);
                            }
                        }
                        while theirs.front().is_some_and(|one| one.last <= raw.seq) {
                            let Some(one) = theirs.pop_front() else { break };
                            if one.last < raw.seq || working.chain() != Some(one.chain) {
                                contradicted.push(one);
                            }
                        }
                    })?;
                    Ok((working, mine, theirs, contradicted, seen))
                })
                .await?;
            let (back, mine, theirs, contradicted, seen) = answer;
            report.contradicted.extend(contradicted);
            (own, against) = (mine, theirs);
            verifier = Some(back);
            match seen {
                Some(seen) => after = seen,
                None => break,
            }
        }
        let mut verifier = verifier.expect("it was put back");
        verifier.end(last);
        report.contradicted.extend(against);
        report.events = verifier.events;
        report.checkpoints = verifier.checkpoints;
        report.chain = verifier.chain();
        report.range = (last >= start).then(|| SeqRange::new(start, last));
        report.damage = verifier.damage;
        report.damage.extend(
            missing
                .into_iter()
                .filter(|range| range.last >= from)
                .map(|range| Damage { range, kind: DamageKind::Checkpoint }),
        );
        let lost: Vec<_> = report
            .damage
            .iter()
            .filter(|damage| matches!(damage.kind, DamageKind::Body | DamageKind::Missing))
            .map(|damage| damage.range)
            .collect();
        for range in lost {
            self.hub().notice(crate::Notice::Damaged { range });
        }
        Ok(report)
    }

    /// Has the signature of each checkpoint checked, those of dropped segments too. `check` is handed
    /// [`Checkpoint::text`] and what the [`Signer`](crate::Signer) made of it.
    ///
    /// # Errors
    /// The journal could not be read. A signature that does not hold is not an error.
    pub async fn check_signatures(
        &self,
        mut check: impl FnMut(&str, &str) -> Result<(), String>,
    ) -> Result<SignatureReport, ReadError> {
        let mut report = SignatureReport::default();
        for checkpoint in self.checkpoints().await? {
            match &checkpoint.signature {
                None => report.unsigned.push(checkpoint),
                Some(signature) => match check(&checkpoint.text(), signature) {
                    Ok(()) => report.sound += 1,
                    Err(reason) => report.wrong.push((checkpoint, reason)),
                },
            }
        }
        Ok(report)
    }

    /// What was found damaged when the journal was opened, this time or before, in the order of places.
    ///
    /// # Errors
    /// The journal could not be read.
    pub async fn known_damage(&self) -> Result<Vec<Damage>, ReadError> {
        let question = |connection: &Connection| {
            let mut select = connection
                .prepare_cached("SELECT first, last, kind FROM damage ORDER BY first, last")?;
            let rows = select.query_map([], |row| {
                let range = SeqRange::new(Seq::from_sql(row.get(0)?), Seq::from_sql(row.get(1)?));
                Ok(DamageKind::from_text(&row.get::<_, String>(2)?)
                    .map(|kind| Damage { range, kind }))
            })?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        self.hub().reader.ask(question).await
    }

    /// All checkpoints, the oldest first, with those of dropped segments.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>, ReadError> {
        let journal = self.journal().to_owned();
        self.hub().reader.ask(move |connection| checkpoint::list(connection, &journal)).await
    }
}
