use std::sync::{Arc, Mutex, PoisonError};

use crate::{Role, ServerLimits};

/// How many connections there may be. Of callers without a role, of those with up to each role, and
/// last of those that are only told that there is no place.
///
/// Each role has a place at least that no lower one can take: whoever may do little can keep nobody
/// from doing what they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    up_to: [usize; 4],
    turned_away: usize,
}

/// Connections whose caller is being looked up: that ends by itself.
const LOOK_UPS: usize = 16;

impl Bounds {
    pub(super) fn of(limits: &ServerLimits) -> Self {
        let all = limits.connections;
        let strangers = (all / 8).max(1);
        let viewers = (all - all / 4).max(1);
        let operators = (all - all / 8).max(viewers + 1);
        let admins = all.max(operators + 1);
        Self { up_to: [strangers, viewers, operators, admins], turned_away: (all / 4).max(4) }
    }

    /// The most connections of all kinds.
    pub(super) fn all(&self) -> usize {
        self.up_to[3] + self.turned_away + LOOK_UPS
    }
}

/// The places that are taken, by the kind of their callers.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    of: [usize; 4],
    turned_away: usize,
}

/// What a connection is let in to.
#[derive(Debug)]
pub(super) enum Entered {
    /// The interface.
    In(Place),
    /// Being told that there is no place.
    TurnedAway(Place),
    /// Nothing.
    Out,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    /// None among those that are turned away.
    kind: Option<usize>,
}

impl Places {
    /// Takes a place for a caller of this role.
    pub(super) fn enter(&self, role: Option<Role>, bounds: &Bounds) -> Entered {
        let kind = match role {
            None => 0,
            Some(Role::Viewer) => 1,
            Some(Role::Operator) => 2,
            Some(Role::Admin) => 3,
        };
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room =
            |up_to: usize| taken.of[..=up_to].iter().sum::<usize>() < bounds.up_to[up_to];
        if (kind..4).all(has_room) {
            taken.of[kind] += 1;
            return Entered::In(Place { places: self.clone(), kind: Some(kind) });
        }
        // Who has no role learns nothing.
        if role.is_some() && taken.turned_away < bounds.turned_away {
            taken.turned_away += 1;
            return Entered::TurnedAway(Place { places: self.clone(), kind: None });
        }
        Entered::Out
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        match self.kind {
            Some(kind) => taken.of[kind] -= 1,
            None => taken.turned_away -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(connections: usize) -> Bounds {
        Bounds::of(&ServerLimits { connections, ..ServerLimits::default() })
    }

    const ROLES: [Option<Role>; 4] =
        [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)];

    /// Lets callers in until one is not.
    fn fill(places: &Places, role: Option<Role>, bounds: &Bounds) -> Vec<Place> {
        std::iter::from_fn(|| match places.enter(role, bounds) {
            Entered::In(place) => Some(place),
            Entered::TurnedAway(_) | Entered::Out => None,
        })
        .collect()
    }

    #[test]
    fn no_role_takes_all_places_of_a_higher_one() {
        assert_eq!(bounds(64).up_to, [8, 48, 56, 64]);
        assert_eq!(bounds(8).up_to, [1, 6, 7, 8]);
        for connections in 1..=100 {
            let (bounds, places) = (bounds(connections), Places::default());
            for order in [[0, 1, 2, 3], [2, 1, 0, 3], [1, 0, 2, 3]] {
                let all: Vec<_> =
                    order.iter().map(|role| fill(&places, ROLES[*role], &bounds)).collect();
                assert!(!all[3].is_empty(), "{connections}: {order:?}");
                assert_eq!(all.iter().map(Vec::len).sum::<usize>(), bounds.up_to[3]);
                // And all are given back.
            }
            let lower = (fill(&places, None, &bounds), fill(&places, Some(Role::Viewer), &bounds));
            assert!(!fill(&places, Some(Role::Operator), &bounds).is_empty(), "{connections}");
            drop(lower);
            assert_eq!(places.0.lock().unwrap().of, [0; 4]);
        }
    }

    #[test]
    fn few_are_told_that_there_is_no_place() {
        let (bounds, places) = (bounds(8), Places::default());
        let _viewers = fill(&places, Some(Role::Viewer), &bounds);
        let told: Vec<_> = (0..9)
            .map_while(|_| match places.enter(Some(Role::Viewer), &bounds) {
                Entered::TurnedAway(place) => Some(place),
                _ => None,
            })
            .collect();
        assert_eq!(told.len(), 4);
        assert!(matches!(places.enter(Some(Role::Viewer), &bounds), Entered::Out));
        drop(told);
        assert!(matches!(places.enter(None, &bounds), Entered::Out), "a stranger learns nothing");
        assert!(matches!(places.enter(Some(Role::Viewer), &bounds), Entered::TurnedAway(_)));
    }
}
