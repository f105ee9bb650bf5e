//! Entitlement actions other than changes of features and packages.

use super::{
    AssignPackage, CheckAndRecord, EndHold, ExpireEntitlements, GrantBoost, Need, Outcome,
    PlaceHold, Rejection, ReverseUsage,
};
use crate::core::{Context, Wants};

/// An entitlement action.
#[derive(Clone, Debug)]
pub enum Action {
    /// Assign a package to a scope.
    AssignPackage(AssignPackage),
    /// Grant a boost to a scope.
    GrantBoost(GrantBoost),
    /// Record usage if the limit has room for all of it.
    CheckAndRecord(CheckAndRecord),
    /// Place a hold on units.
    PlaceHold(PlaceHold),
    /// Settle or release a hold.
    EndHold(EndHold),
    /// Reverse recorded usage.
    ReverseUsage(ReverseUsage),
    /// End expired holds, assignments and boosts of a scope.
    ExpireEntitlements(ExpireEntitlements),
}

impl Action {
    /// The object that the action is about.
    pub fn subject(&self) -> Option<&str> {
        let scope = match self {
            Self::AssignPackage(assign) => &assign.scope,
            Self::GrantBoost(grant) => &grant.scope,
            Self::CheckAndRecord(check) => &check.scope,
            Self::PlaceHold(place) => &place.scope,
            Self::EndHold(end) => &end.scope,
            Self::ReverseUsage(reverse) => &reverse.scope,
            Self::ExpireEntitlements(expire) => &expire.scope,
        };
        Some(&scope.id)
    }

    /// Whether a scoped key may ask for this, about an object that it sees.
    pub(crate) fn is_for_scoped_keys(&self) -> bool {
        match self {
            Self::CheckAndRecord(_)
            | Self::PlaceHold(_)
            | Self::EndHold(_)
            | Self::ReverseUsage(_) => true,
            Self::AssignPackage(_) | Self::GrantBoost(_) | Self::ExpireEntitlements(_) => false,
        }
    }

    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        match self {
            Self::AssignPackage(assign) => assign.wants(wants),
            Self::GrantBoost(grant) => grant.wants(wants),
            Self::CheckAndRecord(check) => check.wants(wants),
            Self::PlaceHold(place) => place.wants(wants),
            Self::EndHold(end) => end.wants(wants),
            Self::ReverseUsage(reverse) => reverse.wants(wants),
            Self::ExpireEntitlements(expire) => expire.wants(wants),
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        match self {
            Self::AssignPackage(assign) => assign.decide(ctx),
            Self::GrantBoost(grant) => grant.decide(ctx),
            Self::CheckAndRecord(check) => check.decide(ctx),
            Self::PlaceHold(place) => place.decide(ctx),
            Self::EndHold(end) => end.decide(ctx),
            Self::ReverseUsage(reverse) => reverse.decide(ctx),
            Self::ExpireEntitlements(expire) => expire.decide(ctx),
        }
    }
}
