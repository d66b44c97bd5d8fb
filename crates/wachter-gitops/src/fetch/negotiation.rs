use gix_error::Error;
use gix_hash::ObjectId;
use gix_protocol::fetch::negotiate::{Action, Round, one_round};
use gix_protocol::fetch::{Arguments, Negotiate, Response};

/// The most objects that the server is told about; the newest say it all.
const MAX_HAVES: usize = 256;

/// What to ask for and what to say is there already. Everything that is there came from the same
/// server, so one round is enough.
pub(crate) struct Negotiation {
    pub(crate) wants: Vec<ObjectId>,
    /// Newest first.
    pub(crate) haves: Vec<ObjectId>,
}

impl Negotiate for Negotiation {
    fn mark_complete_and_common_ref(&mut self) -> Result<Action, Error> {
        Ok(Action::MustNegotiate { remote_ref_target_known: Vec::new() })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _known: &[bool]) -> bool {
        for want in &self.wants {
            arguments.want(want);
        }
        !self.wants.is_empty()
    }

    fn one_round(
        &mut self,
        _state: &mut one_round::State,
        arguments: &mut Arguments,
        _previous: Option<&Response>,
    ) -> Result<(Round, bool), Error> {
        for have in self.haves.iter().take(MAX_HAVES) {
            arguments.have(have);
        }
        let sent = self.haves.len().min(MAX_HAVES);
        let round = Round {
            haves_sent: sent,
            in_vain: 0,
            haves_to_send: sent,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}
